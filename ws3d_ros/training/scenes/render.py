"""Pictures of a scene: colour, metric depth and instance numbers, rasterised by OpenGL.

Runs without a display through EGL, on Mesa's software rasteriser as well as on a GPU.
"""

from __future__ import annotations

import ctypes.util
from types import TracebackType
from typing import Any

import cv2
import moderngl
import numpy as np

from ws3d_ros.sensors.frame import Pinhole
from ws3d_ros.training.scenes.made import SIDE
from ws3d_ros.training.scenes.mesh import join
from ws3d_ros.training.scenes.scene import Scene
from ws3d_ros.training.scenes.view import View

NEAR_M, FAR_M = 0.03, 60.0
_MAX_LAMPS = 4

_VERTEX = """
#version 330
uniform mat4 clip_from_map;
in vec3 position; in vec3 normal; in vec2 uv; in vec3 color; in float layer; in float glow; in float id;
out vec3 p; out vec3 n; out vec2 t; out vec3 c; flat out float l; flat out float g; flat out float i;
void main() {
    p = position; n = normal; t = uv; c = color; l = layer; g = glow; i = id;
    gl_Position = clip_from_map * vec4(position, 1.0);
}
"""

_FRAGMENT = """
#version 330
uniform sampler2DArray images;
uniform vec3 eye; uniform vec3 forward; uniform vec3 sun;
uniform float ambient; uniform vec3 lamps[4]; uniform int lamp_count; uniform vec3 lamp_color;
in vec3 p; in vec3 n; in vec2 t; in vec3 c; flat in float l; flat in float g; flat in float i;
layout(location = 0) out vec4 out_color;
layout(location = 1) out vec2 out_depth_id;
void main() {
    vec3 ray = normalize(p - eye);
    vec3 m = normalize(n);
    if (dot(m, ray) > 0.0) m = -m;
    vec3 base = c;
    if (l >= 0.0) base *= texture(images, vec3(t, l)).rgb;
    vec3 light = ambient * mix(vec3(0.80, 0.78, 0.76), vec3(1.0), 0.5 + 0.5 * m.z);
    light += 0.18 * max(dot(m, sun), 0.0);
    float shine = 0.0;
    for (int k = 0; k < lamp_count; ++k) {
        vec3 d = lamps[k] - p;
        float r2 = dot(d, d);
        d *= inversesqrt(r2);
        light += lamp_color * max(dot(m, d), 0.0) / (1.0 + 0.18 * r2);
        shine += 0.10 * pow(max(dot(reflect(ray, m), d), 0.0), 24.0) / (1.0 + 0.18 * r2);
    }
    vec3 lit = base * light + shine + base * g;
    out_color = vec4(lit / (1.0 + 0.25 * lit), 1.0);  // soft shoulder: bright walls keep their grain
    out_depth_id = vec2(dot(p - eye, forward), i);
}
"""


class RendererMissingError(RuntimeError):
    """No OpenGL without a display on this machine."""


class Renderer:
    """One OpenGL context; show it a scene, then ask for views. A context manager.

    Raises:
        RendererMissingError: where EGL or a driver for it is missing.
    """

    def __init__(self) -> None:
        try:
            self._context: Any = moderngl.create_context(standalone=True, require=330, **_egl())
        except Exception as error:  # moderngl's back ends raise bare Exception
            raise RendererMissingError(
                "cannot open OpenGL without a display (EGL): on Debian and Ubuntu install it with "
                f"'sudo apt-get install libegl1 libgl1 libgl1-mesa-dri'. The driver said: {error}"
            ) from error
        self._context.enable(moderngl.DEPTH_TEST)
        self._program: Any = self._context.program(vertex_shader=_VERTEX, fragment_shader=_FRAGMENT)
        self._targets: dict[tuple[int, int], Any] = {}
        self._loaded: list[Any] = []

    def __enter__(self) -> Renderer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.release()

    def show(self, scene: Scene) -> None:
        """Loads a scene; the one before is let go."""
        for item in self._loaded:
            item.release()
        mesh = join([thing.mesh for thing in scene.things])
        counts = [len(thing.mesh.position_m) for thing in scene.things]
        corners = np.column_stack(
            [
                mesh.position_m,
                mesh.normal,
                mesh.uv,
                mesh.color,
                mesh.texture,
                mesh.glow,
                np.repeat(np.arange(1, len(counts) + 1), counts),
            ]
        ).astype("f4")
        images = np.zeros((max(1, len(mesh.textures)), SIDE, SIDE, 3), np.uint8)
        for layer, image in enumerate(mesh.textures):
            images[layer] = image
        array = self._context.texture_array((SIDE, SIDE, len(images)), 3, images.tobytes(), alignment=1)
        array.build_mipmaps()
        array.filter = (moderngl.LINEAR_MIPMAP_LINEAR, moderngl.LINEAR)
        array.use(0)
        buffer = self._context.buffer(corners.tobytes())
        self._vertices = self._context.vertex_array(
            self._program,
            [(buffer, "3f 3f 2f 3f 1f 1f 1f", "position", "normal", "uv", "color", "layer", "glow", "id")],
        )
        self._loaded = [self._vertices, buffer, array]
        lamps = np.zeros((_MAX_LAMPS, 3), "f4")
        count = min(_MAX_LAMPS, len(scene.lamps_m))
        lamps[:count] = scene.lamps_m[:count]
        self._set("lamps", lamps)
        self._set("sun", scene.sun.astype("f4"))
        self._set("lamp_color", scene.lamp_color.astype("f4"))
        self._program["ambient"].value = scene.ambient
        self._program["lamp_count"].value = count
        self._program["images"].value = 0

    def view(self, camera: Pinhole, T_map_camera: np.ndarray, smooth: bool = False) -> View:
        """The scene from a pose (4x4, optical frame: x right, y down, z forward).

        ``smooth`` draws the colours at twice the size and averages, so that edges are soft.
        """
        color, depth, instance = self._draw(camera, T_map_camera)
        if smooth:
            large = camera.scaled_to(2 * camera.width, 2 * camera.height)
            color = cv2.resize(
                self._draw(large, T_map_camera)[0],
                (camera.width, camera.height),
                interpolation=cv2.INTER_AREA,
            )
        return View(_with_contact_shade(color, depth, camera), depth, instance)

    def _draw(self, camera: Pinhole, T_map_camera: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        target = self._target(camera.width, camera.height)
        target.use()
        self._context.clear(0.75, 0.86, 0.97)
        target.color_attachments[1].write(bytes(8 * camera.width * camera.height))
        T_camera_map = np.linalg.inv(T_map_camera)
        clip = _projection(camera) @ T_camera_map
        self._set("clip_from_map", clip.T.astype("f4"))
        self._set("eye", T_map_camera[:3, 3].astype("f4"))
        self._set("forward", T_map_camera[:3, 2].astype("f4"))
        self._vertices.render(moderngl.TRIANGLES)
        shape = (camera.height, camera.width)
        color = np.frombuffer(target.read(components=3, alignment=1, attachment=0), np.uint8)
        both = np.frombuffer(target.read(components=2, alignment=1, attachment=1, dtype="f4"), np.float32)
        depth, instance = both.reshape(*shape, 2)[..., 0], both.reshape(*shape, 2)[..., 1]
        return color.reshape(*shape, 3), np.ascontiguousarray(depth), np.round(instance).astype(np.uint16)

    def _target(self, width: int, height: int) -> Any:
        if (width, height) not in self._targets:
            self._targets[width, height] = self._context.framebuffer(
                [
                    self._context.texture((width, height), 4),
                    self._context.texture((width, height), 2, dtype="f4"),
                ],
                self._context.depth_renderbuffer((width, height)),
            )
        return self._targets[width, height]

    def _set(self, name: str, value: np.ndarray) -> None:
        self._program[name].write(np.ascontiguousarray(value).tobytes())


def _projection(camera: Pinhole) -> np.ndarray:
    """Camera points (optical frame) to clip space, so that row 0 of the image is read first.

    Pixel centres at whole numbers are half a pixel inside OpenGL's window. OpenGL reads rows
    from the bottom, so y is left pointing down instead of being flipped twice.
    """
    w, h, n, f = camera.width, camera.height, NEAR_M, FAR_M
    return np.array(
        [
            [2 * camera.fx / w, 0, 2 * (camera.cx + 0.5) / w - 1, 0],
            [0, 2 * camera.fy / h, 2 * (camera.cy + 0.5) / h - 1, 0],
            [0, 0, (f + n) / (f - n), -2 * f * n / (f - n)],
            [0, 0, 1, 0],
        ]
    )


def _with_contact_shade(color: np.ndarray, depth_m: np.ndarray, camera: Pinhole) -> np.ndarray:
    """Darker where something near stands before it: depth unsharp masking (Luft et al., SIGGRAPH 2006)."""
    filled = np.where(depth_m > 0, depth_m, FAR_M)
    inverse = 1.0 / filled
    spread = cv2.GaussianBlur(inverse, (0, 0), camera.width / 50.0) - inverse
    shade = 1.0 - np.clip(1.4 * spread * filled, 0.0, 0.35) * (depth_m > 0)
    return np.clip(color * shade[..., None], 0, 255).astype(np.uint8)


def _egl() -> Any:
    """moderngl's settings; where only the versioned libraries are installed, it must be told their names."""
    return {
        "backend": "egl",
        "libgl": ctypes.util.find_library("GL") or "libGL.so.1",
        "libegl": ctypes.util.find_library("EGL") or "libEGL.so.1",
    }
