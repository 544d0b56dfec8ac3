"""Tables to Parquet files and back."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from xlray.errors import InputError
from xlray.storage.files import atomic_file


def to_table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """A table of `schema` from dictionaries; absent keys become null.

    Raises:
        InputError: for a key that is no column, or a value of the wrong type.
    """
    known = set(schema.names)
    for number, row in enumerate(rows):
        unknown = sorted(set(row) - known)
        if unknown:
            raise InputError(f"row {number}: unknown column {unknown[0]!r}; the columns are {', '.join(schema.names)}.")
    try:
        return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InputError(f"rows do not fit the columns {', '.join(schema.names)}: {error}") from error


def write_table(path: Path | str, table: pa.Table) -> None:
    """Write Parquet atomically: readers see the old file or the new one, whatever happens in between."""
    with atomic_file(path) as file:
        pq.write_table(table, file, compression="zstd")


def read_table(path: Path | str, schema: pa.Schema, added: Collection[str] = ()) -> pa.Table:
    """Read the columns of `schema` from a Parquet file; further columns are ignored.

    Args:
        added: columns that older files lack; they are null then.

    Raises:
        InputError: the file is missing, truncated or no Parquet file, or a column is missing or of another type.
    """
    path = Path(path)
    try:
        file = pq.ParquetFile(path)
        older = [name for name in added if name not in file.schema_arrow.names]
        missing = [name for name in schema.names if name not in (*file.schema_arrow.names, *older)]
        if missing:
            raise InputError(f"{path}: column {missing[0]!r} is missing; found {', '.join(file.schema_arrow.names)}.")
        table = file.read(columns=[name for name in schema.names if name not in older])
        for name in (name for name in schema.names if name in older):
            table = table.append_column(name, pa.nulls(len(table), schema.field(name).type))
        table = table.select(schema.names)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file.") from error
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: not a readable Parquet file ({_first_line(error)}).") from error
    for field in schema:
        if not _compatible(table.schema.field(field.name).type, field.type):
            found = table.schema.field(field.name).type
            raise InputError(f"{path}: column {field.name!r} must be {field.type}, but is {found}.")
    return table.cast(schema)


def read_schema(path: Path | str) -> pa.Schema:
    """The columns of a Parquet file.

    Raises:
        InputError: it is missing or no Parquet file.
    """
    try:
        return pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: not a readable Parquet file ({_first_line(error)}).") from error


def _compatible(found: pa.DataType, wanted: pa.DataType) -> bool:
    plain = found.value_type if pa.types.is_dictionary(found) else found
    wanted = wanted.value_type if pa.types.is_dictionary(wanted) else wanted
    integers = pa.types.is_integer(plain) and (pa.types.is_integer(wanted) or pa.types.is_floating(wanted))
    floats = pa.types.is_floating(plain) and pa.types.is_floating(wanted)
    strings = plain in (pa.string(), pa.large_string()) and wanted == pa.string()
    lists = pa.types.is_list(plain) and pa.types.is_list(wanted) and _compatible(plain.value_type, wanted.value_type)
    return plain == wanted or pa.types.is_null(plain) or integers or floats or strings or lists


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
