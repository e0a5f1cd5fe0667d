"""Figure and table of the page on the architecture, made from this file and from the source code."""

import ast
from pathlib import Path
from xml.sax.saxutils import escape

from sphinx.util.docutils import SphinxDirective

import stellarfm

PACKAGE = Path(stellarfm.__file__).parent
FIGURE = Path("development") / "figures" / "flow.svg"
WIDTH, HEIGHT = 1010, 380
BOX_HEIGHT = 54

#: Sub-packages: name -> (left edge, top edge, width, first line, second line).
BOXES = {
    "readers": (140, 30, 120, "readers", "read_snapshot"),
    "simulations": (345, 30, 130, "simulations", "project"),
    "maps-in": (140, 150, 120, "readers", "read_maps"),
    "maps": (345, 150, 130, "maps", "windows, scaling"),
    "encoding": (560, 150, 130, "inference", "encoding"),
    "masses": (770, 90, 120, "inference", "masses"),
    "segmentation": (770, 210, 120, "inference", "segmentation"),
    "fractals": (140, 290, 120, "fractals", "rendering"),
    "pretraining": (345, 290, 130, "pretraining", "methods"),
    "encoders": (560, 290, 130, "encoders", "weights"),
}
#: Arrows: corners of the line, the object that is passed on, and the position of its name.
ARROWS = (
    (((110, 57), (140, 57)), "snapshot", (66, 62)),
    (((260, 57), (345, 57)), "Snapshot", (302, 50)),
    (((410, 84), (410, 150)), "MapSet", (440, 121)),
    (((110, 177), (140, 177)), "FITS maps", (64, 182)),
    (((260, 177), (345, 177)), "GasMaps", (302, 170)),
    (((475, 177), (560, 177)), "windows", (517, 170)),
    (((690, 167), (730, 167), (730, 117), (770, 117)), "features", (697, 136)),
    (((690, 187), (730, 187), (730, 237), (770, 237)), "patches", (700, 228)),
    (((890, 117), (920, 117)), "masses", (958, 114)),
    (((890, 237), (920, 237)), "segments", (962, 234)),
    (((110, 317), (140, 317)), "seed", (84, 322)),
    (((260, 317), (345, 317)), "images", (302, 310)),
    (((475, 317), (560, 317)), "weights", (517, 310)),
    (((625, 290), (625, 204)), "frozen encoder", (572, 252)),
)
#: Formats of the two outputs, below their names.
NOTES = (("FITS, ECSV", (958, 131)), ("FITS", (962, 251)))


def flow_figure() -> str:
    """Return the flow of the data as SVG."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="Helvetica, Arial, sans-serif" text-anchor="middle">',
        '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0,0 L10,5 L0,10 z" fill="#455a64"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for corners, label, (x, y) in ARROWS:
        points = " ".join(f"{i},{j}" for i, j in corners)
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="#455a64" stroke-width="1.6" marker-end="url(#tip)"/>'
        )
        parts.append(text(label, x, y, size=13, color="#263238"))
    parts += [text(label, x, y, size=12, color="#607d8b") for label, (x, y) in NOTES]
    for x, y, width, first, second in BOXES.values():
        parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{BOX_HEIGHT}" rx="7" fill="#e3f2fd" stroke="#1565c0" '
            'stroke-width="1.4"/>'
        )
        middle = x + width / 2
        parts.append(text(first, middle, y + 23, size=15, color="#0d47a1", weight="bold"))
        parts.append(text(second, middle, y + 42, size=13, color="#37474f"))
    return "\n".join([*parts, "</svg>", ""])


def text(words: str, x: float, y: float, *, size: int, color: str, weight: str = "normal") -> str:
    """Return a line of text centered at `x`."""
    return f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}" fill="{color}">{escape(words)}</text>'


def packages() -> list[str]:
    """Return the names of the packages and modules directly below ``stellarfm``."""
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    return sorted(folders | {path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__"})


def imports_of(package: str) -> set[str]:
    """Return the packages and modules of ``stellarfm`` that `package` imports, lazily or not."""
    paths = [*(PACKAGE / package).rglob("*.py"), *PACKAGE.glob(f"{package}.py")]
    found = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                module = node.module or ""
                names = [f"{module}.{alias.name}" for alias in node.names] if module == "stellarfm" else [module]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            found |= {name.split(".")[1] for name in names if name.startswith("stellarfm.")}
    return found & set(packages()) - {package}


class Imports(SphinxDirective):
    """A table of the packages that each package imports, without those that every package may import."""

    def run(self):
        base = {"contracts", "exceptions", "output", "parallel", "provenance", "registry"}
        rows = [(name, sorted(imports_of(name) - base)) for name in packages() if name not in base]
        lines = [".. list-table::", "   :header-rows: 1", "", "   * - package", "     - imports"]
        for name, imported in sorted(rows, key=lambda row: (len(row[1]), row[0])):
            cell = ", ".join(f"`{other}`" for other in imported) or "-"
            lines += [f"   * - `{name}`", f"     - {cell}"]
        return self.parse_text_to_nodes("\n".join(lines))


def write_figure(app):
    """Write the figure before the pages are read."""
    path = Path(app.srcdir) / FIGURE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(flow_figure(), encoding="utf-8")


def setup(app):
    app.add_directive("package-imports", Imports)
    app.connect("builder-inited", write_figure)
    return {"parallel_read_safe": True}
