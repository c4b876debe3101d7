"""Plot seconds against size on two logarithmic axes, as an SVG picture: a pure function."""

from collections.abc import Mapping, Sequence
from math import floor, log10

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 400, 64, 100, 24, 48
COLOURS = ("#4878a8", "#c05030", "#508050", "#806090")
GRID, INK = "#d8d8d8", "#404040"

Lines = Mapping[str, Sequence[tuple[float, float]]]


def draw_growth(lines: Lines, across: str, up: str) -> str:
    """Return an SVG of named lines of points (x, y), all positive.

    A dashed line beside each shows proportional growth from its first point.
    """
    points = [point for line in lines.values() for point in line]
    low_x, high_x = (f(x for x, _ in points) for f in (min, max))
    ends = [y for _, y in points]
    for line in lines.values():
        ends.append(line[0][1] * line[-1][0] / line[0][0])
    low_y, high_y = min(ends) / 1.3, max(ends) * 1.3

    def place(x: float, y: float) -> tuple[float, float]:
        right = (log10(x) - log10(low_x)) / (log10(high_x) - log10(low_x))
        above = (log10(y) - log10(low_y)) / (log10(high_y) - log10(low_y))
        return (
            round(LEFT + right * (WIDTH - LEFT - RIGHT), 1),
            round(HEIGHT - BOTTOM - above * (HEIGHT - TOP - BOTTOM), 1),
        )

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="12" fill="{INK}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{(WIDTH + LEFT - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">{across}'
        "</text>",
        f'<text x="8" y="{TOP - 8}">{up}</text>',
    ]
    for power in range(floor(log10(low_y)), floor(log10(high_y)) + 1):
        for digit in (1, 2, 5):
            value = digit * 10.0**power
            if low_y <= value <= high_y:
                x, y = place(low_x, value)
                parts.append(f'<path d="M{x} {y}H{WIDTH - RIGHT}" stroke="{GRID}"/>')
                parts.append(f'<text x="{x - 6}" y="{y + 4}" text-anchor="end">{value:g}</text>')
    for size in sorted({x for x, _ in points}):
        x, y = place(size, low_y)
        parts.append(f'<text x="{x}" y="{y + 16}" text-anchor="middle">{size:.0f}</text>')
    for (name, line), colour in zip(lines.items(), COLOURS, strict=False):
        (x0, y0), (x1, y1) = line[0], line[-1]
        start, stop = place(x0, y0), place(x1, y0 * x1 / x0)
        parts.append(
            f'<path d="M{start[0]} {start[1]}L{stop[0]} {stop[1]}" stroke="{colour}" '
            'stroke-dasharray="4 4" fill="none"/>'
        )
        path = " ".join("{},{}".format(*place(*point)) for point in line)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += ['<circle cx="{}" cy="{}" r="3.5" fill="{}"/>'.format(*place(*point), colour)
                  for point in line]  # fmt: skip
        x, y = place(x1, y1)
        parts.append(f'<text x="{x + 8}" y="{y + 4}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])
