"""Files and pixels pasted into src/med3d/io/formats/png_test.cc.

python3 png.py   (written with Pillow 9.4.0)

The files are put together here, as Pillow writes only some of PNG's kinds. Pillow clips 16-bit grey
at 255; med3d keeps the high byte, so for that kind the high bytes are printed.
"""
import io
import struct
import zlib

from PIL import Image

WIDTH, HEIGHT = 5, 3
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def sample(x, y, c, depth):
    return (x * 4099 + y * 12347 + c * 20011 + 77) * 3 % (1 << depth)


def rows(xs, ys, colour, depth):
    out = b""
    for y in ys:
        bits = "".join(format(sample(x, y, c, depth), f"0{depth}b")
                       for x in xs for c in range(CHANNELS[colour]))
        bits += "0" * (-len(bits) % 8)
        out += b"\0" + bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8))
    return out


def png(colour, depth, interlaced):
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    if not interlaced:
        passes = [(0, 0, 1, 1)]
    data = b""
    for x0, y0, dx, dy in passes:
        xs, ys = range(x0, WIDTH, dx), range(y0, HEIGHT, dy)
        if len(xs) and len(ys):
            data += rows(xs, ys, colour, depth)
    out = b"\x89PNG\r\n\x1a\n"
    out += chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, colour, 0, 0, interlaced))
    if colour == 3:
        palette = bytes((i * 37 + c * 91) % 256 for i in range(1 << depth) for c in range(3))
        out += chunk(b"PLTE", palette)
        out += chunk(b"tRNS", b"\0\x40")
    return out + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")


for colour, depth, interlaced in [
        (0, 1, 0), (0, 2, 0), (0, 4, 0), (0, 8, 0), (0, 16, 0), (2, 8, 0), (2, 16, 0), (3, 1, 0),
        (3, 2, 0), (3, 4, 0), (4, 8, 0), (4, 16, 0), (6, 8, 0), (6, 16, 0),
        (0, 2, 1), (2, 8, 1), (3, 4, 1)]:
    data = png(colour, depth, interlaced)
    image = Image.open(io.BytesIO(data))
    grey, rgb = image.convert("L").tobytes(), image.convert("RGB").tobytes()
    if (colour, depth) == (0, 16):
        grey = bytes(sample(x, y, 0, 16) >> 8 for y in range(HEIGHT) for x in range(WIDTH))
        rgb = bytes(v for v in grey for _ in range(3))
    print(f'    {{"{data.hex()}",\n     "{rgb.hex()}",\n     "{grey.hex()}"}},')
