"""How figures are written."""

import io
import re
import zlib

from fontTools.ttLib import TTFont

from xlray.report.drawing import draw


def test_fonts_of_a_pdf_hold_the_glyphs_of_its_text_and_no_tables_that_choose_glyphs():
    def paint(figure):
        figure.text(0.1, 0.5, "öljy")

    _, pdf = draw(paint, 2, 1)
    streams = [
        zlib.decompress(found) for found in re.findall(rb"FlateDecode.*?stream\n(.*?)\nendstream", pdf, re.DOTALL)
    ]
    (font,) = (TTFont(io.BytesIO(one)) for one in streams if one.startswith(b"\0\1\0\0"))
    assert {"odieresis", "l", "j", "y"} <= set(font.getGlyphOrder())
    assert not {"GSUB", "GPOS", "GDEF", "MATH", "kern"} & set(font.keys())
    (unicode,) = (one for one in streams if b"beginbfrange" in one or b"beginbfchar" in one)
    assert {f"<{ord(letter):04x}>".encode() for letter in "öljy"} <= set(re.findall(rb"<\w+>", unicode.lower()))
