import gettext
import os

import pytest

from kb.supervisor.catalogues import BrokenCatalogue, compile_outdated

PO = """
msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\\n"
"Plural-Forms: nplurals=2; plural=(n > 1);\\n"

msgid "prompt"
msgid_plural "prompts"
msgstr[0] "consigne"
msgstr[1] "consignes"

#, fuzzy
msgid "Save"
msgstr "Sauver"
"""


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "fr" / "LC_MESSAGES" / "django.po"
    path.parent.mkdir(parents=True)
    path.write_text(PO, "utf-8")
    return path


def test_a_catalogue_is_compiled_for_gettext(source, tmp_path):
    compiled = compile_outdated([tmp_path])

    assert compiled == [source.with_suffix(".mo")]
    with compiled[0].open("rb") as file:
        french = gettext.GNUTranslations(file)
    assert [french.ngettext("prompt", "prompts", n) for n in (1, 2)] == ["consigne", "consignes"]
    assert french.gettext("Save") == "Save"


def test_only_what_changed_is_compiled(source, tmp_path):
    compile_outdated([tmp_path])

    untouched = compile_outdated([tmp_path])
    later = source.with_suffix(".mo").stat().st_mtime + 5
    os.utime(source, (later, later))

    assert untouched == []
    assert compile_outdated([tmp_path]) == [source.with_suffix(".mo")]


def test_a_broken_catalogue_is_named_with_its_line(source, tmp_path):
    source.write_text(f"{PO}\ngibberish\n", "utf-8")

    with pytest.raises(BrokenCatalogue, match=rf"{source} \(line 16\)\. Correct the file"):
        compile_outdated([tmp_path])

    assert [path.name for path in source.parent.iterdir()] == ["django.po"]


def test_a_catalogue_in_another_encoding_is_named(source, tmp_path):
    source.write_bytes(PO.replace("Sauver", "Gardé").encode("latin-1"))

    with pytest.raises(BrokenCatalogue, match=f"{source} is not UTF-8"):
        compile_outdated([tmp_path])
