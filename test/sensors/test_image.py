"""A golden frame for every colour encoding, and what a damaged one ends in."""

from __future__ import annotations

import array
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest

from ws3d_ros.sensors.errors import SensorError
from ws3d_ros.sensors.image import decode_compressed_image, decode_image

HEIGHT, WIDTH = 6, 8
RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (HEIGHT, WIDTH, 1), dtype=np.uint8)
ALPHA = RNG.integers(0, 256, (HEIGHT, WIDTH, 1), dtype=np.uint8)
BGR = RGB[..., ::-1]
GREY_RGB = np.repeat(GREY, 3, axis=2)


def deep(pixels: np.ndarray) -> np.ndarray:
    """16-bit pixels whose upper bytes are these."""
    return pixels.astype(np.uint16) << 8 | RNG.integers(0, 256, pixels.shape, dtype=np.uint16)


def message(pixels: np.ndarray, padding: int = 0, big_endian: bool = False) -> tuple[int, bytes]:
    """Step and bytes of a raw image, rows padded with rubbish."""
    rows = pixels.astype(pixels.dtype.newbyteorder(">" if big_endian else "<")).reshape(len(pixels), -1)
    content = rows.view(np.uint8).reshape(len(pixels), -1)
    rubbish = np.full((len(pixels), padding), 0xAB, np.uint8)
    return content.shape[1] + padding, np.hstack([content, rubbish]).tobytes()


PLAIN = {
    "rgb8": (RGB, RGB),
    "bgr8": (BGR, RGB),
    "8UC3": (BGR, RGB),
    "rgba8": (np.dstack([RGB, ALPHA]), RGB),
    "bgra8": (np.dstack([BGR, ALPHA]), RGB),
    "8UC4": (np.dstack([BGR, ALPHA]), RGB),
    "mono8": (GREY, GREY_RGB),
    "8UC1": (GREY, GREY_RGB),
}
DEEP = {
    "rgb16": (deep(RGB), RGB),
    "bgr16": (deep(BGR), RGB),
    "rgba16": (deep(np.dstack([RGB, ALPHA])), RGB),
    "bgra16": (deep(np.dstack([BGR, ALPHA])), RGB),
    "mono16": (deep(GREY), GREY_RGB),
    "16UC1": (deep(GREY), GREY_RGB),
}


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("encoding", PLAIN)
def test_8_bit_encodings(encoding: str, padding: int) -> None:
    stored, expected = PLAIN[encoding]
    step, data = message(stored, padding)
    np.testing.assert_array_equal(decode_image(encoding, HEIGHT, WIDTH, step, False, data), expected)


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("encoding", DEEP)
def test_16_bit_encodings_keep_the_upper_byte(encoding: str, padding: int, big_endian: bool) -> None:
    stored, expected = DEEP[encoding]
    step, data = message(stored, padding, big_endian)
    np.testing.assert_array_equal(decode_image(encoding, HEIGHT, WIDTH, step, big_endian, data), expected)


def rgb_of_yuv(y: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """ITU-R BT.601, video range, in float64."""
    y, u, v = (part.astype(np.float64) for part in (y, u, v))
    luma = 1.164383 * (y - 16)
    red = luma + 1.596027 * (v - 128)
    green = luma - 0.391762 * (u - 128) - 0.812968 * (v - 128)
    blue = luma + 2.017232 * (u - 128)
    return np.stack([red, green, blue], axis=-1).clip(0, 255)


Y = RNG.integers(16, 236, (HEIGHT, WIDTH), dtype=np.uint8)


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("encoding", ["yuv422", "uyvy", "yuv422_yuy2", "yuyv"])
def test_yuv_with_colour_for_two_pixels(encoding: str, padding: int) -> None:
    u, v = RNG.integers(16, 240, (2, HEIGHT, WIDTH // 2), dtype=np.uint8)
    chroma = np.stack([u, v], axis=-1).reshape(HEIGHT, WIDTH)
    pair = (Y, chroma) if encoding in ("yuv422_yuy2", "yuyv") else (chroma, Y)
    step, data = message(np.stack(pair, axis=-1), padding)
    expected = rgb_of_yuv(Y, u.repeat(2, axis=1), v.repeat(2, axis=1))
    found = decode_image(encoding, HEIGHT, WIDTH, step, False, data)
    # OpenCV calculates in fixed point: one step off.
    np.testing.assert_allclose(found, expected, atol=1.01)


@pytest.mark.parametrize("padding", [0, 4])
@pytest.mark.parametrize("encoding", ["nv12", "nv21"])
def test_yuv_with_a_plane_of_colour_for_four_pixels(encoding: str, padding: int) -> None:
    u, v = RNG.integers(16, 240, (2, HEIGHT // 2, WIDTH // 2), dtype=np.uint8)
    chroma = np.stack((u, v) if encoding == "nv12" else (v, u), axis=-1).reshape(HEIGHT // 2, WIDTH)
    step, data = message(np.vstack([Y, chroma]), padding)
    expected = rgb_of_yuv(Y, u.repeat(2, 0).repeat(2, 1), v.repeat(2, 0).repeat(2, 1))
    found = decode_image(encoding, HEIGHT, WIDTH, step, False, data)
    np.testing.assert_allclose(found, expected, atol=1.01)


def mosaic(pattern: str, rgb: np.ndarray) -> np.ndarray:
    """What a sensor with this pattern (its first two rows, left to right) sees."""
    seen = np.empty(rgb.shape[:2], rgb.dtype)
    for place, letter in enumerate(pattern):
        rows, columns = slice(place // 2, None, 2), slice(place % 2, None, 2)
        seen[rows, columns] = rgb[rows, columns, "rgb".index(letter)]
    return seen


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_mosaics(pattern: str) -> None:
    step, data = message(mosaic(pattern, np.full((HEIGHT, WIDTH, 3), (200, 100, 50), np.uint8)), padding=2)
    found = decode_image(f"bayer_{pattern}8", HEIGHT, WIDTH, step, False, data)
    np.testing.assert_array_equal(found, np.full((HEIGHT, WIDTH, 3), (200, 100, 50)))
    # Where the sensor measured a colour, that value stays (the border is interpolated).
    seen = mosaic(pattern, RGB)
    found = decode_image(f"bayer_{pattern}8", HEIGHT, WIDTH, WIDTH, False, seen.tobytes())
    np.testing.assert_array_equal(mosaic(pattern, found)[1:-1, 1:-1], seen[1:-1, 1:-1])


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_16_bit_bayer_mosaics_are_as_their_upper_bytes(pattern: str, big_endian: bool) -> None:
    seen = mosaic(pattern, RGB)
    step, data = message(deep(seen), 0, big_endian)
    np.testing.assert_array_equal(
        decode_image(f"bayer_{pattern}16", HEIGHT, WIDTH, step, big_endian, data),
        decode_image(f"bayer_{pattern}8", HEIGHT, WIDTH, WIDTH, False, seen.tobytes()),
    )


@pytest.mark.parametrize(
    "wrap",
    [
        bytes,
        bytearray,
        memoryview,
        lambda data: array.array("B", data),
        lambda data: np.frombuffer(data, "u1"),
    ],
)
def test_every_kind_of_buffer_gives_an_image_of_its_own(wrap: object) -> None:
    data = bytearray(RGB.tobytes())
    found = decode_image("rgb8", HEIGHT, WIDTH, WIDTH * 3, False, wrap(data))  # type: ignore[operator]
    data[:] = bytes(len(data))
    np.testing.assert_array_equal(found, RGB)
    assert found.flags.writeable
    assert found.flags.c_contiguous


def test_the_last_row_may_lack_its_padding() -> None:
    step, data = message(RGB, padding=5)
    np.testing.assert_array_equal(decode_image("rgb8", HEIGHT, WIDTH, step, False, data[:-5]), RGB)


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG file of these chunks."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def encoded(kind: str, pixels: np.ndarray) -> bytes:
    return bytes(cv2.imencode(kind, pixels)[1].tobytes())


@pytest.mark.parametrize("format", ["png", "rgb8; png compressed bgr8", "bgr8; png compressed bgr8", ""])
def test_png_is_exact(format: str) -> None:
    np.testing.assert_array_equal(decode_compressed_image(format, encoded(".png", BGR)), RGB)
    with_alpha = np.dstack([BGR, ALPHA])
    np.testing.assert_array_equal(decode_compressed_image(format, encoded(".png", with_alpha)), RGB)


def test_png_of_grey_of_16_bits_and_of_a_mosaic() -> None:
    np.testing.assert_array_equal(
        decode_compressed_image("mono8; png compressed ", encoded(".png", GREY)), GREY_RGB
    )
    sixteen = encoded(".png", deep(GREY))
    np.testing.assert_array_equal(decode_compressed_image("mono16; png compressed ", sixteen), GREY_RGB)
    colour = encoded(".png", deep(BGR))
    np.testing.assert_array_equal(decode_compressed_image("rgb16; png compressed bgr16", colour), RGB)
    seen = mosaic("gbrg", RGB)
    np.testing.assert_array_equal(
        decode_compressed_image("bayer_gbrg8; png compressed bayer_gbrg8", encoded(".png", seen)),
        decode_image("bayer_gbrg8", HEIGHT, WIDTH, WIDTH, False, seen.tobytes()),
    )


@pytest.mark.parametrize(
    "format", ["jpeg", "jpg", "rgb8; jpeg compressed bgr8", "bgr8; jpeg compressed bgr8"]
)
def test_jpeg_is_near_and_in_the_right_order(format: str) -> None:
    ramp = np.linspace(0, 255, 64)
    smooth = np.stack(np.broadcast_arrays(ramp, ramp[:, None], 128.0), axis=-1).astype(np.uint8)
    data = bytes(cv2.imencode(".jpg", smooth[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes())
    # A smooth image loses only quantisation at quality 95.
    np.testing.assert_allclose(decode_compressed_image(format, data).astype(int), smooth, atol=8)


def test_grey_jpeg() -> None:
    data = encoded(".jpg", np.full((16, 16), 77, np.uint8))
    np.testing.assert_allclose(
        decode_compressed_image("mono8; jpeg compressed ", data).astype(int), 77, atol=1
    )


def refusal(reason: str, *arguments: object) -> str:
    decode = decode_image if len(arguments) > 2 else decode_compressed_image
    with pytest.raises(SensorError) as caught:
        decode(*arguments)  # type: ignore[operator]
    assert caught.value.reason == reason
    return str(caught.value)


ROW = WIDTH * 3
DATA = RGB.tobytes()


@pytest.mark.parametrize(
    ("reason", "encoding", "height", "width", "step", "data"),
    [
        ("bad_encoding", "rgb9", HEIGHT, WIDTH, ROW, DATA),
        ("bad_encoding", "", HEIGHT, WIDTH, ROW, DATA),
        ("bad_encoding", "32FC1", HEIGHT, WIDTH, ROW, DATA),
        ("bad_size", "rgb8", 0, WIDTH, ROW, DATA),
        ("bad_size", "rgb8", HEIGHT, 0, ROW, DATA),
        ("bad_size", "rgb8", -1, WIDTH, ROW, DATA),
        ("bad_size", "rgb8", 2**32 - 1, 2**32 - 1, 2**32 - 1, DATA),
        ("bad_size", "rgb8", 1, 20000, 60000, DATA),
        ("bad_size", "yuv422", HEIGHT, 7, 14, DATA),
        ("bad_size", "nv12", 5, WIDTH, WIDTH, DATA),
        ("bad_size", "bayer_rggb8", 2, 2, 2, DATA),
        ("bad_step", "rgb8", HEIGHT, WIDTH, ROW - 1, DATA),
        ("bad_step", "rgb8", HEIGHT, WIDTH, 0, DATA),
        ("truncated", "rgb8", HEIGHT, WIDTH, ROW, DATA[:-1]),
        ("truncated", "rgb8", HEIGHT, WIDTH, ROW, b""),
        ("truncated", "rgb8", 8000, 8000, 24000, DATA),
        ("truncated", "nv12", HEIGHT, WIDTH, WIDTH, bytes(HEIGHT * WIDTH)),
    ],
)
def test_impossible_raw_images(
    reason: str, encoding: str, height: int, width: int, step: int, data: bytes
) -> None:
    refusal(reason, encoding, height, width, step, False, data)


def test_messages_say_what_to_do() -> None:
    assert "depth topic" in refusal("bad_encoding", "32FC1", 4, 4, 16, False, bytes(64))
    assert "rgb8" in refusal("bad_encoding", "h264", 4, 4, 16, False, bytes(64))
    assert "144 bytes, but 100 came" in refusal("truncated", "rgb8", HEIGHT, WIDTH, ROW, False, DATA[:100])
    assert "republish" in refusal("bad_encoding", "h264", bytes(100))
    assert "depth topic" in refusal("bad_encoding", "16UC1; compressedDepth png", bytes(100))


@pytest.mark.parametrize("kind", [".png", ".jpg"])
def test_a_compressed_image_that_was_cut(kind: str) -> None:
    data = encoded(kind, RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    for part in (10, len(data) // 2, len(data) - 3):
        with pytest.raises(SensorError) as caught:
            decode_compressed_image("", data[:part])
        assert caught.value.reason in ("truncated", "corrupt")
    refusal("bad_encoding", "", b"")
    refusal("bad_encoding", "", data[1:])


def test_a_jpeg_may_be_padded_behind_its_end() -> None:
    data = encoded(".jpg", np.full((16, 16, 3), 77, np.uint8))
    assert decode_compressed_image("jpeg", data + bytes(100)).shape == (16, 16, 3)


def test_a_png_that_was_damaged_inside() -> None:
    header = (b"IHDR", struct.pack(">IIBBBBB", 8, 6, 8, 2, 0, 0, 0))
    refusal("corrupt", "png", png(header, (b"IDAT", b"rubbish"), (b"IEND", b"")))
    refusal("corrupt", "png", png((b"IEND", b"")))


@pytest.mark.parametrize("size", [(60000, 60000), (8000, 8000), (0, 10)])
def test_a_small_file_cannot_claim_a_large_image(size: tuple[int, int]) -> None:
    """Refused from the header, before anything is allocated."""
    header = (b"IHDR", struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0))
    refusal("bad_size", "png", png(header, (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")))
    jpeg = bytearray(encoded(".jpg", np.zeros((16, 16, 3), np.uint8)))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", *size)
    refusal("bad_size", "jpeg", bytes(jpeg))


def test_a_png_cannot_claim_a_large_chunk() -> None:
    """OpenCV would allocate 3.7 GB and take seconds to find that the data is not there."""
    data = bytearray(encoded(".png", BGR))
    data[33] = 0xDF
    refusal("truncated", "png", bytes(data))


def test_a_jpeg_cannot_hide_its_size_behind_another_header() -> None:
    """A marker without a length makes careless readers skip the true header and believe a small one."""
    large = encoded(".jpg", np.zeros((16, 16, 3), np.uint8))
    at = large.index(b"\xff\xc0")
    true = large[:at] + b"\xff\xc0\x00\x11\x08" + struct.pack(">HH", 60000, 60000) + large[at + 9 :]
    decoy = b"\xff\xd0" + struct.pack(">H", len(true)) + true[4:]
    hidden = true[:2] + decoy + large[at:]
    refusal("corrupt", "jpeg", hidden)


def test_a_blank_image_compresses_well_and_is_no_attack() -> None:
    blank = np.zeros((2160, 3840), np.uint8)
    for kind in (".png", ".jpg"):
        assert decode_compressed_image("mono8", encoded(kind, blank)).shape == (2160, 3840, 3)


def test_chunks_behind_the_end_of_a_png_allocate_nothing() -> None:
    """OpenCV reads on where the last chunk has content, and believes the length that it finds there."""
    header = struct.pack(">I4sIIBBBBB", 13, b"IHDR", 6, 4, 16, 0, 0, 0, 1)
    png = b"\x89PNG\r\n\x1a\n" + header + bytes(4) + struct.pack(">I4sII", 4, b"IEND", 0, 0)
    bomb = png + struct.pack(">I4s", 0x5000_0000, b"tEXt") + bytes(40)
    # The peak of this program alone: ru_maxrss begins with that of the process that started it.
    script = (
        "import sys; from ws3d_ros.sensors.image import decode_compressed_image\n"
        "try: decode_compressed_image('png', bytes.fromhex(sys.argv[1]))\n"
        "except ValueError: print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, bomb.hex()], capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) * 1024 < 0x5000_0000
