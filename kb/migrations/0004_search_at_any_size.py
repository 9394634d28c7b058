"""The search at any size: keys of facets, titles, hot entries, counts, vocabulary, misses, kept searches."""

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.contrib.postgres.search
import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


FUNCTIONS = """
CREATE FUNCTION lexemes_of(word text) RETURNS text[] LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT ARRAY(SELECT DISTINCT lexeme FROM unnest(
    tsvector_to_array(to_tsvector('pg_catalog.french', word))
    || tsvector_to_array(to_tsvector('pg_catalog.english', word))
    || tsvector_to_array(to_tsvector('pg_catalog.simple', word))) lexeme ORDER BY lexeme)
$$;
CREATE FUNCTION counted_audience(audience varchar[]) RETURNS varchar[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  -- Whoever holds any token holds 'company': naming the author beside it would only split the counts.
  SELECT CASE WHEN 'company' = ANY(audience) THEN ARRAY['company']::varchar[] ELSE audience END
$$;
CREATE FUNCTION kb_count_search_entries() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    INSERT INTO kb_searchchange (audience, kind, is_listed, keys, step)
    SELECT counted_audience(audience), kind, is_listed, keys, 1 FROM came;
  ELSIF TG_OP = 'DELETE' THEN
    INSERT INTO kb_searchchange (audience, kind, is_listed, keys, step)
    SELECT counted_audience(audience), kind, is_listed, keys, -1 FROM went;
  ELSE
    INSERT INTO kb_searchchange (audience, kind, is_listed, keys, step)
    SELECT counted_audience(e.audience), e.kind, e.is_listed, e.keys, e.step
    FROM came JOIN went USING (id),
      LATERAL (VALUES (came.audience, came.kind, came.is_listed, came.keys, 1),
                      (went.audience, went.kind, went.is_listed, went.keys, -1))
        AS e (audience, kind, is_listed, keys, step)
    WHERE (came.audience, came.kind, came.is_listed, came.keys)
      IS DISTINCT FROM (went.audience, went.kind, went.is_listed, went.keys);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER count_search_entries_that_came AFTER INSERT ON kb_searchentry
  REFERENCING NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION kb_count_search_entries();
CREATE TRIGGER count_search_entries_that_went AFTER DELETE ON kb_searchentry
  REFERENCING OLD TABLE AS went FOR EACH STATEMENT EXECUTE FUNCTION kb_count_search_entries();
CREATE TRIGGER count_search_entries_that_changed AFTER UPDATE ON kb_searchentry
  REFERENCING OLD TABLE AS went NEW TABLE AS came
  FOR EACH STATEMENT EXECUTE FUNCTION kb_count_search_entries();
-- Votes change rows in place; that needs room on their page.
ALTER TABLE kb_searchentry SET (fillfactor = 90);
INSERT INTO kb_searchcount (audience, kind, is_listed, key, entries)
SELECT counted_audience(audience), kind, is_listed, key, count(*)
FROM kb_searchentry, unnest(keys || '*'::varchar) key GROUP BY 1, 2, 3, 4;
"""
NO_FUNCTIONS = """
ALTER TABLE kb_searchentry RESET (fillfactor);
DROP TRIGGER count_search_entries_that_came ON kb_searchentry;
DROP TRIGGER count_search_entries_that_went ON kb_searchentry;
DROP TRIGGER count_search_entries_that_changed ON kb_searchentry;
DROP FUNCTION kb_count_search_entries();
DROP FUNCTION counted_audience(varchar[]);
DROP FUNCTION lexemes_of(text);
"""
FILL = """
-- What older rows know; `manage.py reindex` and the nightly repair write them anew.
UPDATE kb_searchentry e SET
  title_vector = ts_filter(vector, '{a}'),
  extent = length(vector),
  is_listed = kind <> 'prompt' OR status = 'published',
  heat = round(8 * (log(2, (activity + 0.5)::numeric)::float8
    + extract(epoch FROM now() - timestamptz '2020-01-01 00:00+00') / 86400 / 90)) / 8,
  keys = ARRAY(
    SELECT 'd:' || v FROM unnest(departments) v UNION ALL SELECT 't:' || v FROM unnest(tools) v
    UNION ALL SELECT 'u:' || v FROM unnest(use_cases) v UNION ALL SELECT 'g:' || v FROM unnest(tags) v
    UNION ALL SELECT 'l:' || language UNION ALL SELECT 's:' || status
    UNION ALL SELECT 'x:' || drift WHERE drift <> ''
    UNION ALL SELECT 'e:' || CASE WHEN proven >= 0.5 THEN 'proven'
      WHEN proven > 0 OR reports > 0 THEN 'some' ELSE 'none' END);
"""


class Migration(migrations.Migration):

    dependencies = [
        ('kb', '0003_idempotent_answers'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='SavedSearch',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=80, verbose_name='name')),
                ('address', models.CharField(blank=True, max_length=1000)),
                ('cadence', models.CharField(choices=[('daily', 'Every day'), ('weekly', 'Every week'), ('never', 'Never, only keep it')], default='weekly', max_length=8, verbose_name='tell me')),
                ('created', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('looked', models.DateTimeField()),
                ('due', models.DateTimeField(blank=True, null=True)),
                ('sent', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'ordering': ('name', 'pk'),
            },
        ),
        migrations.CreateModel(
            name='SearchChange',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('audience', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=40))),
                ('kind', models.CharField(max_length=20)),
                ('is_listed', models.BooleanField()),
                ('keys', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=90))),
                ('step', models.SmallIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name='SearchCount',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('audience', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=40))),
                ('kind', models.CharField(max_length=20)),
                ('is_listed', models.BooleanField()),
                ('key', models.CharField(max_length=90)),
                ('entries', models.BigIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name='SearchMiss',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('words', models.CharField(max_length=200)),
                ('facets', models.CharField(blank=True, max_length=200)),
                ('language', models.CharField(max_length=8)),
                ('day', models.DateField()),
                ('found', models.PositiveIntegerField(default=0)),
                ('times', models.PositiveIntegerField(default=1)),
            ],
        ),
        migrations.CreateModel(
            name='SearchState',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('is_tiered', models.BooleanField(default=False)),
                ('entries', models.BigIntegerField(default=0)),
                ('learned', models.DateTimeField(null=True)),
                ('words_edition', models.BigIntegerField(default=0)),
                ('mended', models.BigIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name='SearchWord',
            fields=[
                ('word', models.CharField(max_length=80, primary_key=True, serialize=False)),
                ('lexemes', django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), default=list)),
                ('entries', models.PositiveIntegerField(default=0)),
            ],
        ),
        migrations.RemoveIndex(
            model_name='searchentry',
            name='search_facets',
        ),
        migrations.RemoveIndex(
            model_name='searchentry',
            name='search_newest',
        ),
        migrations.RemoveIndex(
            model_name='searchentry',
            name='search_proven',
        ),
        migrations.RemoveIndex(
            model_name='searchentry',
            name='search_vector',
        ),
        migrations.AddField(
            model_name='searchentry',
            name='active',
            field=models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
        ),
        migrations.AddField(
            model_name='searchentry',
            name='extent',
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='searchentry',
            name='heat',
            field=models.FloatField(default=0),
        ),
        migrations.AddField(
            model_name='searchentry',
            name='indexed',
            field=models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
        ),
        migrations.AddField(
            model_name='searchentry',
            name='is_hot',
            field=models.BooleanField(default=True),
        ),
        migrations.AddField(
            model_name='searchentry',
            name='is_listed',
            field=models.BooleanField(default=True),
        ),
        migrations.AddField(
            model_name='searchentry',
            name='keys',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=90), default=list),
        ),
        migrations.AddField(
            model_name='searchentry',
            name='stamp',
            field=models.CharField(blank=True, default='', max_length=32),
        ),
        migrations.AddField(
            model_name='searchentry',
            name='title_key',
            field=models.CharField(blank=True, default='', max_length=200),
        ),
        migrations.AddField(
            model_name='searchentry',
            name='title_vector',
            field=django.contrib.postgres.search.SearchVectorField(default=''),
        ),
        migrations.AlterField(
            model_name='searchentry',
            name='author_id',
            field=models.BigIntegerField(db_index=True, null=True),
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        migrations.RemoveField(
            model_name='searchentry',
            name='departments',
        ),
        migrations.RemoveField(
            model_name='searchentry',
            name='tags',
        ),
        migrations.RemoveField(
            model_name='searchentry',
            name='tools',
        ),
        migrations.RemoveField(
            model_name='searchentry',
            name='use_cases',
        ),
        migrations.AddIndex(
            model_name='searchentry',
            index=django.contrib.postgres.indexes.GinIndex(fields=['vector'], gin_pending_list_limit=512, name='search_words'),
        ),
        migrations.AddIndex(
            model_name='searchentry',
            index=django.contrib.postgres.indexes.GinIndex(fastupdate=False, fields=['title_vector'], name='search_titles'),
        ),
        migrations.AddIndex(
            model_name='searchentry',
            index=django.contrib.postgres.indexes.GinIndex(fastupdate=False, fields=['keys', 'audience'], name='search_keys'),
        ),
        migrations.AddIndex(
            model_name='searchentry',
            index=django.contrib.postgres.indexes.GinIndex(condition=models.Q(('is_hot', True)), fastupdate=False, fields=['vector'], name='search_hot_words'),
        ),
        migrations.AddIndex(
            model_name='searchentry',
            index=django.contrib.postgres.indexes.GinIndex(condition=models.Q(('is_hot', True)), fastupdate=False, fields=['keys', 'audience'], name='search_hot_keys'),
        ),
        migrations.AddIndex(
            model_name='searchentry',
            index=models.Index(fields=['title_key'], name='search_title_key'),
        ),
        migrations.AddIndex(
            model_name='searchentry',
            index=models.Index(condition=models.Q(('is_listed', True)), fields=['kind', '-heat', '-object_id'], name='search_liveliest'),
        ),
        migrations.AddIndex(
            model_name='searchentry',
            index=models.Index(condition=models.Q(('is_listed', True)), fields=['kind', '-dated', '-object_id'], name='search_latest'),
        ),
        migrations.AddIndex(
            model_name='searchentry',
            index=models.Index(fields=['indexed', 'id'], name='search_indexed'),
        ),
        migrations.AddField(
            model_name='savedsearch',
            name='person',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='saved_searches', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddIndex(
            model_name='searchcount',
            index=django.contrib.postgres.indexes.GinIndex(fields=['audience'], name='search_count_audience'),
        ),
        migrations.AddConstraint(
            model_name='searchcount',
            constraint=models.UniqueConstraint(fields=('audience', 'kind', 'is_listed', 'key'), name='one_count_each'),
        ),
        migrations.AddConstraint(
            model_name='searchmiss',
            constraint=models.UniqueConstraint(fields=('day', 'words', 'facets', 'language'), name='one_miss_a_day'),
        ),
        migrations.AddIndex(
            model_name='searchword',
            index=django.contrib.postgres.indexes.GinIndex(fields=['lexemes'], name='search_lexemes'),
        ),
        migrations.AddIndex(
            model_name='savedsearch',
            index=models.Index(condition=models.Q(('due__isnull', False)), fields=['due'], name='saved_search_due'),
        ),
        migrations.AddConstraint(
            model_name='savedsearch',
            constraint=models.UniqueConstraint(fields=('person', 'name'), name='saved_search_names_are_unique'),
        ),
        migrations.AddConstraint(
            model_name='savedsearch',
            constraint=models.CheckConstraint(condition=models.Q(('cadence', 'never'), ('due__isnull', False), _connector='XOR'), name='a_saved_search_is_due_unless_never'),
        ),
        migrations.RunSQL(FUNCTIONS, NO_FUNCTIONS),
    ]
