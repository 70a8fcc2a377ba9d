"""The viewer: a web server (viser) whose page shows a map, switches its layers and takes questions."""

from __future__ import annotations

import html
import io
import logging
import threading
from contextlib import redirect_stdout
from typing import Any

import cv2
import numpy as np
import torch
import viser

from ws3d_ros.instances.instance import Instance
from ws3d_ros.rendering.views import LegendEntry, below_ceiling, overview
from ws3d_ros.viewing.shown import (
    LAYERS,
    LIT,
    Ask,
    Reply,
    Shown,
    box_edges,
    by_camera,
    highlighted,
    legend,
    strength,
    worth_naming,
)

MOST_NAMES = 60
"""So many names at most; more cannot be read."""
LEGEND_LINES = 24
FIELD_OF_VIEW_RAD = 0.7
LEAST_SCORE = 0.3
"""Objects whose name is less sure have no box at first."""


class Viewer:
    """One map in a browser. Methods may be called from any thread.

    Attributes:
        server: the web server, with its clients.
        shown: what is shown, None at first.
    """

    def __init__(self, host: str, port: int, title: str, layer: str = "label") -> None:
        """Serves at once.

        Raises:
            OSError: if the port is taken.
        """
        # Browsers open connections that they then do not use; that is no error.
        logging.getLogger("websockets.server").setLevel(logging.CRITICAL)
        with redirect_stdout(io.StringIO()):  # viser greets
            self.server = viser.ViserServer(host, port, label=title, verbose=False)
        self._ask: Ask | None = None
        self.shown: Shown | None = None
        self._reply: Reply | None = None
        self._drawn: list[Any] = []
        self._lock = threading.RLock()
        self.server.scene.set_up_direction("+z")
        self.server.gui.configure_theme(show_logo=False, show_share_button=False, control_width="medium")
        self._build(title, layer)

    @property
    def url(self) -> str:
        """Where it is."""
        host = self.server.get_host()
        return f"http://{'localhost' if host in ('0.0.0.0', '127.0.0.1') else host}:{self.server.get_port()}"

    def show(self, shown: Shown) -> None:
        """Shows a map instead of the one before; an answer stays until another question is asked."""
        with self._lock:
            self.shown = shown
            if len(shown):
                self._look_at(shown)
            self._draw()

    def say(self, text: str) -> None:
        """A sentence on top of the panel, such as what is being done."""
        self._title.content = text

    def take_questions(self, ask: Ask) -> None:
        """From now on words can be asked."""
        self._ask = ask
        self._words.disabled = self._find.disabled = False
        self._answer.content = ""

    def ask(self, text: str, viewer_m: np.ndarray | None = None) -> Reply | None:
        """Asks, and shows what the question brought; no text goes back to the whole map.

        Returns:
            None if there is no text or it cannot be asked, which the panel then says.
        """
        reply = None
        if text.strip() and self._ask is not None:
            self._answer.content = "<p>looking …</p>"
            try:
                reply = self._ask(text, viewer_m)
            except ValueError as error:
                self._answer.content = _box(f"<b>{html.escape(str(error))}</b>")
                return None
        with self._lock:
            self._reply = reply
            self._answer.content = "" if reply is None else answer_html(reply)
            self._draw()
        return reply

    def picture(self, client: viser.ClientHandle, width: int = 0, height: int = 0) -> np.ndarray:
        """(H, W, 3) uint8 what a browser shows, without the panel; as large as its window if not said."""
        size = (height or client.camera.image_height, width or client.camera.image_width)
        rgba = client.get_render(*size, transport_format="png", timeout=120.0)
        share = rgba[..., 3:].astype(np.float32) / 255.0
        return np.asarray((rgba[..., :3] * share + 255.0 * (1.0 - share)).round().astype(np.uint8))

    def stop(self) -> None:
        """Ends the server."""
        with redirect_stdout(io.StringIO()):
            self.server.stop()

    def _build(self, title: str, layer: str) -> None:
        gui = self.server.gui
        self._title = gui.add_markdown(title)
        with gui.add_form("Find") as form:
            self._words = gui.add_text("Words", "", disabled=True, hint='such as "lamp near the sofa"')
            self._find = gui.add_button("Find", disabled=True)
            self._answer = gui.add_html(_box("questions cannot be asked yet"))
        with gui.add_folder("Show"):
            self._layer = gui.add_dropdown("Colours", tuple(LAYERS), initial_value=layer)
            self._points = gui.add_checkbox("Points", True)
            self._boxes = gui.add_checkbox("Boxes", True)
            self._names = gui.add_checkbox("Names", True)
            self._ceiling = gui.add_checkbox("Ceiling", False)
            self._least = gui.add_slider("Least score", 0.0, 1.0, 0.05, LEAST_SCORE)
            self._size = gui.add_slider("Point size", 0.2, 2.0, 0.1, 1.0)
        with gui.add_folder("Legend"):
            self._legend = gui.add_html("")
        save = gui.add_button("Save picture")
        switches = (
            self._layer,
            self._points,
            self._boxes,
            self._names,
            self._ceiling,
            self._least,
            self._size,
        )
        for switch in switches:
            switch.on_update(lambda _: self._draw())
        self._find.on_click(self._on_words)
        form.on_submit(self._on_words)
        save.on_click(self._save)

    def _on_words(self, event: Any) -> None:
        self.ask(self._words.value, _place(event))

    def _save(self, event: Any) -> None:
        picture = self.picture(event.client)
        content = cv2.imencode(".png", picture[..., ::-1])[1].tobytes()
        event.client.send_file_download("map.png", content, save_immediately=True)

    def _look_at(self, shown: Shown) -> None:
        """Obliquely from above, with everything in view, for browsers that come from now on."""
        points = shown.points_m
        _, T_map_camera = overview(torch.from_numpy(points), 1000, 700)
        forward = T_map_camera[:3, 2]
        middle = (points.min(axis=0) + points.max(axis=0)) / 2
        radius = float(np.linalg.norm(points - middle, axis=1).max())
        camera = self.server.initial_camera
        camera.look_at = tuple(middle)
        camera.position = tuple(middle - forward * (0.9 * radius / np.tan(FIELD_OF_VIEW_RAD / 2)))
        camera.fov = FIELD_OF_VIEW_RAD

    def _draw(self) -> None:
        with self._lock, self.server.atomic():
            if self.shown is None:
                return
            shown, reply, layer = self.shown, self._reply, self._layer.value
            for handle in self._drawn:
                handle.remove()
            self._drawn = []
            self._draw_points(shown, reply, layer)
            things = worth_naming(shown.things, self._least.value)
            texts = [f"{shown.names[thing.label]} {thing.id}" for thing in things]
            colors = [shown.palette[thing.label] for thing in things]
            if reply is not None:
                things = [answer.box for answer in reply.answers]
                texts = [f"{answer.name} {answer.score:.2f}" for answer in reply.answers]
                colors = [LIT] * len(things)
            self._draw_things(things, texts, colors)
            self._legend.content = legend_html(legend(shown, layer))

    def _draw_points(self, shown: Shown, reply: Reply | None, layer: str) -> None:
        if not self._points.value or len(shown) == 0:
            return
        rgb = LAYERS[layer](shown)
        if reply is not None:
            rgb = highlighted(by_camera(shown) if layer == "label" else rgb, strength(shown, reply))
        keep = slice(None) if self._ceiling.value else below_ceiling(shown.points_m)
        points = self.server.scene.add_point_cloud(
            "/points",
            shown.points_m[keep],
            rgb[keep],
            point_size=1.1 * shown.voxel_size_m * self._size.value,
            point_shading="flat",
            precision="float32",
        )
        self._drawn.append(points)

    def _draw_things(self, things: list[Instance], texts: list[str], colors: list[np.ndarray]) -> None:
        scene = self.server.scene
        if self._boxes.value and things:
            edges = np.concatenate([box_edges(thing) for thing in things])
            color = np.repeat(np.stack(colors).astype(np.uint8) * 0.8, 12 * 2, axis=0)
            color = color.reshape(-1, 2, 3).astype(np.uint8)
            lines = scene.add_line_segments("/boxes", edges, color, thickness=2.0, thickness_units="screen")
            self._drawn.append(lines)
        if self._names.value:
            for i, (thing, text) in enumerate(zip(things[:MOST_NAMES], texts, strict=False)):
                x, y, z = thing.box_center_m
                top = (x, y, z + thing.box_size_m[2] / 2)
                label = scene.add_label(f"/names/{i}", text, position=top, anchor="bottom-center")
                self._drawn.append(label)


def answer_html(reply: Reply) -> str:
    """A reply for the panel."""
    rows = "".join(
        f"<tr><td><b>{html.escape(answer.name)}</b> {answer.id or ''}</td><td>{answer.score:.2f}</td></tr>"
        f"<tr><td colspan=2 style='color:#777'>{html.escape('; '.join(answer.why))}</td></tr>"
        for answer in reply.answers
    )
    notes = "".join(f"<p style='color:#b35900'>{html.escape(note)}</p>" for note in reply.notes)
    return _box(f"<p>{html.escape(reply.summary)}</p>{notes}<table>{rows}</table>")


def legend_html(entries: list[LegendEntry]) -> str:
    """Swatches with names and shares of the voxels."""
    total = max(1, sum(count for _, _, count in entries))
    rows = []
    for name, color, count in entries[:LEGEND_LINES]:
        r, g, b = (int(channel) for channel in color)
        swatch = f"background:rgb({r},{g},{b});border:1px solid #888;width:1.1em;height:1.1em"
        rows.append(
            f"<tr><td><div style='{swatch}'></div></td><td style='padding:0 .5em'>{html.escape(name)}</td>"
            f"<td style='text-align:right'>{100 * count / total:.1f} %</td></tr>"
        )
    more = f"<p>and {len(entries) - LEGEND_LINES} more</p>" if len(entries) > LEGEND_LINES else ""
    return _box(f"<table>{''.join(rows)}</table>{more}")


def _box(content: str) -> str:
    return f"<div style='font-size:0.85em;padding:0 .6em;max-height:22em;overflow-y:auto'>{content}</div>"


def _place(event: Any) -> np.ndarray | None:
    """(3,) where the browser's camera is, which makes left and right."""
    return None if event.client is None else np.array(event.client.camera.position, dtype=np.float64)
