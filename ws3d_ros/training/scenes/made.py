"""Textures and things that no catalogue has: walls' and floors' materials, cushions, rugs, pictures."""

from __future__ import annotations

import cv2
import numpy as np

from ws3d_ros.training.scenes.mesh import Mesh, box, join, surface

SIDE = 128
"""Pixels on a side of a texture; all repeat without a seam."""


def noise(rng: np.random.Generator, smoothness: float) -> np.ndarray:
    """(SIDE, SIDE) in about -1..1, repeating, blotches of about ``smoothness`` pixels."""
    spectrum = np.fft.rfft2(rng.standard_normal((SIDE, SIDE)))
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None])
    field = np.fft.irfft2(spectrum * np.exp(-((frequency * smoothness) ** 2) * 8), s=(SIDE, SIDE))
    return np.asarray(field / (2 * field.std()))


def muted(color: np.ndarray) -> np.ndarray:
    """The colour, nearer to grey, as large pieces of cloth have it."""
    return 0.45 * color + 0.55 * color.mean()


def plaster(rng: np.random.Generator, color: np.ndarray) -> np.ndarray:
    """Paint with a fine grain and faint stains."""
    return _image(color, 0.02 * noise(rng, 1) + 0.03 * noise(rng, 12))


def wallpaper(rng: np.random.Generator, color: np.ndarray) -> np.ndarray:
    """Vertical stripes, or dots, of two shades."""
    u, v = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    count = int(rng.choice([2, 4, 8]))
    stripes = np.sign(np.sin(2 * np.pi * count * u / SIDE))
    dots = np.sin(2 * np.pi * count * u / SIDE) * np.sin(2 * np.pi * count * v / SIDE) > 0.6
    pattern = stripes if rng.random() < 0.6 else dots.astype(float)
    return _image(color, rng.uniform(0.03, 0.1) * pattern + 0.02 * noise(rng, 1))


def planks(rng: np.random.Generator, color: np.ndarray) -> np.ndarray:
    """Wooden boards with a grain along u and dark joints."""
    rows = int(rng.choice([4, 8]))
    high = SIDE // rows
    value = np.repeat(rng.uniform(-0.1, 0.1, rows), high)[:, None] + np.zeros((SIDE, SIDE))
    grain = cv2.blur(np.tile(rng.standard_normal((SIDE, SIDE)), (1, 2)), (33, 1))[
        :, SIDE // 2 : 3 * SIDE // 2
    ]
    value += 0.25 * grain
    value[::high] -= 0.25
    for row, start in enumerate(rng.integers(0, SIDE, rows)):
        value[row * high : (row + 1) * high, start] -= 0.25
    return _image(color, value)


def tiles(rng: np.random.Generator, color: np.ndarray) -> np.ndarray:
    """Square tiles with joints."""
    count = int(rng.choice([2, 4]))
    side = SIDE // count
    value = np.kron(rng.uniform(-0.03, 0.03, (count, count)), np.ones((side, side))) + 0.03 * noise(rng, 6)
    joint = rng.choice([-0.3, 0.15])
    value[::side] += joint
    value[:, ::side] += joint
    return _image(color, value)


def cloth(rng: np.random.Generator, color: np.ndarray) -> np.ndarray:
    """Weave with coarse grain, for carpets and covers."""
    return _image(color, 0.10 * noise(rng, 0.5) + 0.05 * noise(rng, 5))


def art(rng: np.random.Generator) -> np.ndarray:
    """Some painting: blotches of a few colours."""
    palette = (rng.uniform(30, 220) + rng.normal(0, 45, (5, 3))).clip(10, 245)
    value = noise(rng, 14) + 0.3 * noise(rng, 4)
    index = np.digitize(value, [-0.5, -0.15, 0.15, 0.5])
    return palette[index].astype(np.uint8)


def ornament(rng: np.random.Generator, color: np.ndarray) -> np.ndarray:
    """A carpet's pattern: a border and a symmetric figure."""
    quarter = noise(rng, 6)[: SIDE // 2, : SIDE // 2]
    half = np.concatenate([quarter, quarter[:, ::-1]], 1)
    figure = np.sign(np.concatenate([half, half[::-1]])) * 0.15
    ramp = np.minimum(np.arange(SIDE), np.arange(SIDE)[::-1])
    border = np.minimum(ramp[:, None], ramp[None])
    figure[(border > 6) & (border < 14)] = -0.3
    return _image(color, figure + 0.06 * noise(rng, 0.5))


def pillow(rng: np.random.Generator) -> Mesh:
    """A square cushion, lying."""
    side, high = rng.uniform(0.35, 0.6), rng.uniform(0.10, 0.16)
    grid = np.linspace(-1, 1, 13)
    x, y = np.meshgrid(grid, grid)
    bulge = ((1 - x**4) * (1 - y**4)) ** 0.5 * high / 2
    sheets = []
    for sign in (1, -1):
        points = np.stack([x * side / 2, y * side / 2, high / 2 + sign * bulge], -1)
        sheets.append(_sheet(points, rng.uniform(0.1, 0.9, 3), cloth(rng, np.full(3, 0.95))))
    return join(sheets)


def rug(rng: np.random.Generator) -> Mesh:
    """A carpet, 12 mm thick."""
    size = np.array([rng.uniform(1.2, 2.6), rng.uniform(0.9, 1.8), 0.012])
    color = rng.uniform(0.15, 0.85, 3)
    make = ornament if rng.random() < 0.6 else cloth
    mesh = box(-size * [0.5, 0.5, 0], size * [0.5, 0.5, 1], image=make(rng, color), image_size_m=1.0)
    stretch = mesh.position_m[:, :2] / size[:2].astype(np.float32) + 0.5
    return surface(mesh.position_m, mesh.normal, np.ones(3), stretch, mesh.textures[0])


def picture(rng: np.random.Generator) -> Mesh:
    """A framed picture, front towards -y."""
    wide, high = rng.uniform(0.3, 1.1), rng.uniform(0.3, 0.8)
    frame = box([-wide / 2, -0.02, 0], [wide / 2, 0.02, high], rng.uniform(0.05, 0.9) * np.ones(3))
    edge = 0.04
    canvas = _facing(wide - 2 * edge, high - 2 * edge, edge, -0.022, art(rng))
    return join([frame, canvas])


def mirror(rng: np.random.Generator) -> Mesh:
    """A mirror, drawn as a bright gradient, as nothing here reflects; front towards -y."""
    wide, high = rng.uniform(0.4, 0.9), rng.uniform(0.6, 1.4)
    frame = box([-wide / 2, -0.02, 0], [wide / 2, 0.02, high], rng.uniform(0.1, 0.8) * np.ones(3))
    shade = np.linspace(0.45, 0.85, SIDE)[:, None] + 0.1 * noise(rng, 30)
    glass = np.clip(shade[..., None] * [238, 246, 255], 0, 255).astype(np.uint8)
    return join([frame, _facing(wide - 0.06, high - 0.06, 0.03, -0.022, glass)])


def curtain(rng: np.random.Generator, width_m: float, height_m: float) -> Mesh:
    """Cloth that hangs in folds, front towards -y."""
    t = np.linspace(0, 1, 41)
    fold = 0.035 * np.sin(2 * np.pi * t * max(2, round(width_m / 0.15)))
    z = np.linspace(0, height_m, 3)
    points = np.stack(
        [np.tile((t - 0.5) * width_m, (3, 1)), np.tile(fold, (3, 1)), np.tile(z[:, None], (1, 41))], -1
    )
    return _sheet(points, muted(rng.uniform(0.3, 0.95, 3)), cloth(rng, np.full(3, 0.97)))


def shelf(rng: np.random.Generator) -> Mesh:
    """A board on the wall with a few books, or with none; front towards -y."""
    wide, deep = rng.uniform(0.5, 1.4), rng.uniform(0.18, 0.3)
    wood = np.array([0.75, 0.6, 0.45]) * rng.uniform(0.4, 1.3)
    parts = [box([-wide / 2, -deep / 2, 0], [wide / 2, deep / 2, 0.03], wood.clip(0, 1))]
    at = -wide / 2 + 0.02
    while at < wide / 2 - 0.3 and rng.random() < 0.85:
        thick, high = rng.uniform(0.02, 0.05), rng.uniform(0.16, 0.28)
        low = [at, deep / 2 - rng.uniform(0.1, deep), 0.03]
        parts.append(box(low, [at + thick, deep / 2, 0.03 + high], rng.uniform(0.1, 0.9, 3)))
        at += thick + 0.002
    return join(parts)


def duvet(rng: np.random.Generator, width_m: float, length_m: float, hang_m: float) -> Mesh:
    """Bedding that covers a bed from its foot (-y) and hangs down at three sides; z = 0 is the mattress."""
    cover = length_m * rng.uniform(0.6, 0.9)
    x = np.linspace(-width_m / 2 - hang_m, width_m / 2 + hang_m, 33)
    y = np.linspace(-length_m / 2 - hang_m, -length_m / 2 + cover, 33)
    over = np.maximum(np.abs(x)[None] - width_m / 2, 0) + np.maximum(-length_m / 2 - y, 0)[:, None]
    fold = cv2.resize(noise(rng, 10), (33, 33)) * rng.uniform(0.01, 0.04)
    points = np.stack(
        [
            np.broadcast_to(x.clip(-width_m / 2 - 0.03, width_m / 2 + 0.03), (33, 33)),
            np.broadcast_to(y[:, None].clip(-length_m / 2 - 0.03), (33, 33)),
            rng.uniform(0.03, 0.08) + fold - over,
        ],
        -1,
    )
    return _sheet(
        points, rng.uniform(0.3, 1.0) * muted(rng.uniform(0.5, 1.0, 3)), cloth(rng, np.full(3, 0.97))
    )


def blinds(rng: np.random.Generator, width_m: float, height_m: float) -> Mesh:
    """Slats, or a smooth cloth, that hang before a window; front towards -y."""
    shade = rng.uniform(0.5, 1.0) * np.array([1, rng.uniform(0.9, 1), rng.uniform(0.75, 1)])
    half = width_m / 2
    if rng.random() < 0.4:
        return box([-half, -0.01, 0], [half, 0.01, height_m], shade, cloth(rng, np.full(3, 0.97)))
    slats = [box([-half, -0.02, z], [half, 0.015, z + 0.028], shade) for z in np.arange(0.0, height_m, 0.035)]
    return join(slats)


def stairs(rng: np.random.Generator) -> Mesh:
    """A straight flight, rising towards +y."""
    wide, rise, tread = rng.uniform(0.8, 1.1), rng.uniform(0.16, 0.19), rng.uniform(0.24, 0.3)
    shade = rng.uniform(0.3, 0.9) * np.array([1, 0.85, 0.7]) ** rng.uniform(0, 1.5)
    count = int(rng.integers(5, 12))
    steps = [
        box([-wide / 2, i * tread, 0], [wide / 2, (i + 1) * tread, (i + 1) * rise], shade)
        for i in range(count)
    ]
    return join(steps).moved(0.0, (0.0, -count * tread / 2, 0.0))


def _image(color: np.ndarray, value: np.ndarray) -> np.ndarray:
    return (np.clip(np.asarray(color) * (1 + value[..., None]), 0, 1) * 255).astype(np.uint8)


def _facing(wide: float, high: float, bottom: float, y: float, image: np.ndarray) -> Mesh:
    """An upright rectangle that faces -y."""
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 0], [1, 1], [0, 1]])
    corners = np.stack(
        [(uv[:, 0] - 0.5) * wide, np.full(6, y), bottom + uv[:, 1] * high],
        1,
    )
    return surface(corners, np.tile([0, -1, 0], (6, 1)), np.ones(3), uv * 0.98 + 0.01, image)


def _sheet(points: np.ndarray, color: np.ndarray, image: np.ndarray) -> Mesh:
    """A grid of points (rows, columns, 3) as triangles with smooth normals."""
    rows, columns = points.shape[:2]
    normal = np.cross(np.gradient(points, axis=1), np.gradient(points, axis=0))
    uv = np.stack(np.meshgrid(np.linspace(0, 2, columns), np.linspace(0, 2, rows)), -1)
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    corner = np.stack([a, b, c, a, c, d], -1).reshape(-1)
    return surface(
        points.reshape(-1, 3)[corner], normal.reshape(-1, 3)[corner], color, uv.reshape(-1, 2)[corner], image
    )
