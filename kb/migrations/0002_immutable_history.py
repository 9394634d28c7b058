"""What must never change is guarded by the database itself."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION kb_refuse_rewriting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.text IS DISTINCT FROM OLD.text OR NEW.system IS DISTINCT FROM OLD.system
     OR NEW.variables IS DISTINCT FROM OLD.variables OR NEW.parameters IS DISTINCT FROM OLD.parameters
     OR NEW.number IS DISTINCT FROM OLD.number OR NEW.prompt_id IS DISTINCT FROM OLD.prompt_id THEN
    RAISE EXCEPTION 'A prompt version is immutable; publish a new one.' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER prompt_version_is_immutable BEFORE UPDATE ON kb_promptversion
  FOR EACH ROW EXECUTE FUNCTION kb_refuse_rewriting();
"""
BACKWARD = """
DROP TRIGGER prompt_version_is_immutable ON kb_promptversion;
DROP FUNCTION kb_refuse_rewriting();
"""


class Migration(migrations.Migration):
    dependencies = [("kb", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
