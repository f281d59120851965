"""Draw what `serve.py --json` wrote: tokens/s of each server by the number of clients, an SVG for each load.

`python bench/plot.py bench/results/serve.json --names aiadmin llama-server` writes `different.svg` and so on beside it.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path

from serve import Round

WIDTH, HEIGHT, MARGIN = 640, 260, 40
COLOURS = ("#2f6fab", "#c8803a", "#6a9a4f", "#8a6bb1")


def draw(rounds: Sequence[Round], names: Sequence[str], folder: Path) -> None:
    """An SVG for each load, into `folder`."""
    for load in dict.fromkeys(row.load for row in rounds):
        own = [row for row in rounds if row.load == load]
        (folder / f"{load}.svg").write_text(svg(own, names, load.replace("_", " ")))


def svg(rounds: Sequence[Round], names: Sequence[str], title: str) -> str:
    """Bars of medians over the rounds, with a line from the slowest round to the fastest. Servers as `rounds` have
    them, called `names`."""
    urls = list(dict.fromkeys(row.url for row in rounds))
    groups = list(dict.fromkeys(row.n_clients for row in rounds))
    most = max(row.tokens_per_s for row in rounds)
    step = (WIDTH - 2 * MARGIN) / len(groups)
    bar = 0.8 * step / len(urls)

    def y(value: float) -> float:
        return HEIGHT - MARGIN - value / most * (HEIGHT - 2 * MARGIN)

    parts = [_text(WIDTH / 2, 20, f"{title}: tokens/s of all clients together")]
    for place, n_clients in enumerate(groups):
        left = MARGIN + place * step + 0.1 * step
        parts.append(_text(left + 0.4 * step, HEIGHT - MARGIN + 16, f"{n_clients} clients"))
        for index, url in enumerate(urls):
            values = [row.tokens_per_s for row in rounds if (row.url, row.n_clients) == (url, n_clients)]
            if not values:
                continue
            x, median = left + index * bar, statistics.median(values)
            parts.append(_box(x, y(median), bar - 2, y(0) - y(median), COLOURS[index % len(COLOURS)]))
            parts.append(_text(x + bar / 2, y(max(values)) - 4, f"{median:.0f}"))
            parts.append(_box(x + bar / 2 - 1.5, y(max(values)), 1, y(min(values)) - y(max(values)), "#222"))
    for index, name in enumerate(names[: len(urls)]):
        parts.append(_box(MARGIN + 140 * index, HEIGHT - 16, 10, 10, COLOURS[index % len(COLOURS)]))
        parts.append(_text(MARGIN + 140 * index + 16, HEIGHT - 7, name, anchor="start"))
    box, font = f'viewBox="0 0 {WIDTH} {HEIGHT}"', 'font-family="sans-serif" font-size="12"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {box} {font}>'
    return "\n".join([head, '<rect width="100%" height="100%" fill="#fff"/>', *parts, "</svg>\n"])


def _box(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("json", type=Path)
    parser.add_argument("--names", nargs="+", default=["aiadmin", "the other one"], help="of the servers, in order")
    options = parser.parse_args()
    rounds = [Round(**row) for row in json.loads(options.json.read_text())]
    draw(rounds, options.names, options.json.parent)


if __name__ == "__main__":
    main()
