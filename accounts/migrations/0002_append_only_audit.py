"""The audit record can only grow. Forgetting a person may empty the actor, nothing else."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION accounts_refuse_rewriting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND NEW.actor_id IS NULL
     AND (NEW.at, NEW.action, NEW.target, NEW.details) IS NOT DISTINCT FROM (OLD.at, OLD.action, OLD.target, OLD.details) THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'The audit record is append-only.' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE ON accounts_auditentry
  FOR EACH ROW EXECUTE FUNCTION accounts_refuse_rewriting();
"""
BACKWARD = """
DROP TRIGGER audit_is_append_only ON accounts_auditentry;
DROP FUNCTION accounts_refuse_rewriting();
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
