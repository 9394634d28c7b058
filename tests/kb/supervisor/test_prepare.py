"""`manage.py prepare`: each step when it is needed, and only then."""

import io

import pytest
from django.core.management import CommandError, call_command

from accounts.models import User
from kb.management.commands import prepare
from kb.supervisor import addresses

pytestmark = pytest.mark.django_db


@pytest.fixture
def place(settings, tmp_path):
    """An embedded installation of its own, without translations."""
    settings.DATA_DIR = tmp_path
    settings.STATIC_ROOT = tmp_path / "static"
    settings.LOCALE_PATHS = [tmp_path / "locale"]
    settings.EMBEDDED = True
    settings.RETEX_DEMO = False
    return tmp_path


@pytest.fixture
def demo(monkeypatch):
    """Stands for the command that writes the demo; counts its calls."""
    calls = []
    real = prepare.call_command

    def called(name, **options):
        if name != "load_demo":
            return real(name, **options)
        calls.append(name)
        options["stdout"].write("18 people\n")
        return None

    monkeypatch.setattr(prepare, "call_command", called)
    return calls


def prepared(capsys):
    call_command("prepare")
    return [
        line.strip().rsplit("  ", 1)[0].strip() for line in capsys.readouterr().out.splitlines()
    ]


def test_a_first_start_does_everything_and_a_second_nothing(place, capsys):
    first, second = prepared(capsys), prepared(capsys)

    assert first == [
        "Database tables, up to date",
        "Translations, up to date",
        "Static files, collected",
    ]
    assert second == [
        "Database tables, up to date",
        "Translations, up to date",
        "Static files, up to date",
    ]
    assert (place / "static" / "kb" / "css").is_dir()


def test_static_files_are_collected_again_when_one_changed_or_all_are_gone(
    place, capsys, monkeypatch
):
    prepared(capsys)
    monkeypatch.setattr(prepare, "_static_sources", lambda: iter(["another.css 1 2"]))

    assert prepared(capsys)[-1] == "Static files, collected"

    (place / "static").rename(place / "moved")
    assert prepared(capsys)[-1] == "Static files, collected"
    assert prepared(capsys)[-1] == "Static files, up to date"


def test_the_demo_is_loaded_into_an_empty_database_only(place, settings, demo, capsys):
    settings.RETEX_DEMO = True

    lines = prepared(capsys)
    User.objects.create_user("ada@example.com", name="Ada")
    prepared(capsys)

    assert lines[-2:] == ["18 people", "Demo content"]
    assert demo == ["load_demo"]


@pytest.mark.parametrize(("embedded", "wanted"), [(False, True), (True, False), (False, False)])
def test_no_demo_where_real_people_work_or_nobody_wants_it(
    place, settings, demo, capsys, monkeypatch, embedded, wanted
):
    monkeypatch.setattr(prepare, "_ask_broker", lambda: None)
    settings.EMBEDDED, settings.RETEX_DEMO = embedded, wanted

    prepared(capsys)

    assert demo == []


def test_unsafe_settings_are_refused_by_name_before_anything_is_touched(tmp_path, settings):
    settings.TESTING, settings.EMBEDDED, settings.SECRET_KEY = False, False, "short"
    settings.DATA_DIR = tmp_path / "data"

    with pytest.raises(CommandError, match="SECRET_KEY: has 5 characters"):
        call_command("prepare")

    assert not addresses.run_dir(settings.DATA_DIR).exists()


def test_a_broken_catalogue_is_named(place):
    source = place / "locale" / "fr" / "LC_MESSAGES" / "django.po"
    source.parent.mkdir(parents=True)
    source.write_text("gibberish\n")

    with pytest.raises(CommandError, match=str(source)):
        call_command("prepare")


def test_catalogues_can_be_compiled_alone(place):
    source = place / "locale" / "fr" / "LC_MESSAGES" / "django.po"
    source.parent.mkdir(parents=True)
    source.write_text('msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n')
    first, second = io.StringIO(), io.StringIO()

    call_command("compile_catalogues", stdout=first)
    call_command("compile_catalogues", stdout=second)

    assert (first.getvalue(), second.getvalue()) == (f"{source.with_suffix('.mo')}\n", "")


def test_a_server_that_never_answers_is_named(place, settings, monkeypatch):
    settings.EMBEDDED = False
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    monkeypatch.setattr(prepare, "PATIENCE_SECONDS", 0)

    with pytest.raises(CommandError, match="The server that REDIS_URL names does not answer"):
        call_command("prepare")
