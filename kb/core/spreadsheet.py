"""Tables as CSV that a spreadsheet opens with its accents and runs nothing of. PURE."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

BYTE_ORDER_MARK = "\ufeff"
"""Without it, Excel reads UTF-8 as something else."""
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a spreadsheet may take for the beginning of a formula (OWASP, CSV injection)."""

type Cell = str | int | None


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Cell]], *, separator: str = ",") -> str:
    """The table as text (RFC 4180), ready to be encoded as UTF-8. None is an empty cell.

    A text that a spreadsheet would run gets an apostrophe before it; numbers stay numbers.
    """
    text = io.StringIO(newline="")
    text.write(BYTE_ORDER_MARK)
    writer = csv.writer(text, delimiter=separator)
    writer.writerow([_inert(cell) for cell in header])
    writer.writerows([_inert(cell) for cell in row] for row in rows)
    return text.getvalue()


def _inert(cell: Cell) -> str | int:
    if cell is None:
        return ""
    if isinstance(cell, str) and cell.startswith(FORMULA_STARTS):
        return f"'{cell}"
    return cell
