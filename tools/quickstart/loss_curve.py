"""Draw the losses of a run as an SVG picture: a pure function of the points."""

from collections.abc import Sequence

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 320, 56, 16, 36, 40
TRAINED, HELD_OUT, GRID, INK = "#4878a8", "#c05030", "#d8d8d8", "#404040"

Points = Sequence[tuple[float, float]]


def draw_losses(trained: Points, held_out: Points) -> str:
    """Return an SVG of the training loss (line) and the held-out loss (dots), both (step, loss).

    Raises:
        ValueError: there are no points.
    """
    points = [*trained, *held_out]
    if not points:
        raise ValueError("no losses to draw")
    last = max(max(step for step, _ in points), 1)
    low, high = min(loss for _, loss in points), max(loss for _, loss in points)
    margin = 0.08 * (high - low) or 0.5
    low, high = low - margin, high + margin

    def place(point: tuple[float, float]) -> tuple[float, float]:
        x = LEFT + point[0] / last * (WIDTH - LEFT - RIGHT)
        y = TOP + (high - point[1]) / (high - low) * (HEIGHT - TOP - BOTTOM)
        return round(x, 1), round(y, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="12" fill="{INK}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="22" fill="{TRAINED}">training loss</text>',
        f'<text x="{LEFT + 100}" y="22" fill="{HELD_OUT}">held-out loss</text>',
        f'<text x="{(WIDTH + LEFT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">step</text>',
    ]
    for i in range(5):
        loss = low + (high - low) * i / 4
        x, y = place((0, loss))
        parts.append(f'<path d="M{x} {y}H{WIDTH - RIGHT}" stroke="{GRID}"/>')
        parts.append(f'<text x="{x - 6}" y="{y + 4}" text-anchor="end">{loss:.2f}</text>')
        step = round(last * i / 4)
        x, y = place((step, low))
        parts.append(f'<text x="{x}" y="{y + 16}" text-anchor="middle">{step}</text>')
    line = " ".join(f"{x},{y}" for x, y in map(place, trained))
    parts.append(f'<polyline points="{line}" fill="none" stroke="{TRAINED}" stroke-width="2"/>')
    for x, y in map(place, held_out):
        parts.append(f'<circle cx="{x}" cy="{y}" r="5" fill="{HELD_OUT}"/>')
    return "\n".join([*parts, "</svg>", ""])
