-- What the database of made.sql answers, under its own settings. Nothing of it stays. psql -f
\set ON_ERROR_STOP on
\pset footer off
SELECT name, setting FROM pg_settings WHERE source = 'database' AND name <> 'search_path' ORDER BY name;
SHOW search_path;
SELECT o.last_value AS orders, l.last_value AS lines FROM orders_id_seq o, lines_id_seq l \gset
SET default_transaction_read_only = off;
-- Every row of everything that has some
SELECT format('SELECT %L AS relation, count(*), md5(string_agg(md5(t::text), '''' ORDER BY md5(t::text))) FROM %s t', name, name)
  FROM (SELECT c.oid::regclass::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE relkind IN ('r', 'p', 'v', 'm') AND nspname IN ('app', 'public') AND relispopulated) r ORDER BY name COLLATE "C" \gexec
SELECT * FROM texts ORDER BY id;
SELECT * FROM daily ORDER BY day;
SELECT * FROM weekly ORDER BY week;
SELECT * FROM found ORDER BY t;
SELECT relname, relispopulated FROM pg_class WHERE relkind = 'm' ORDER BY 1;
-- What is looked up
SELECT count(*) FROM orders WHERE price > '10,25';
SELECT count(*) FROM orders WHERE within @> 0.2::float8;
SELECT t, body FROM docs WHERE v @@ to_tsquery('pgsql') ORDER BY t;
SELECT string_agg(t, ' ' ORDER BY t), string_agg(body, ' ' ORDER BY body USING <<<) FROM docs;
SELECT ts_lexize('same', 'gogle'), ts_lexize('as_it_is', 'the'), to_tsvector('the running indices');
SELECT tableoid::regclass::text COLLATE "C", count(*) FROM lines GROUP BY 1 ORDER BY 1;
SELECT tableoid::regclass::text COLLATE "C", min(at), max(at) FROM by_day GROUP BY 1 ORDER BY 1;
SELECT (at, price)::pair::text, convert_from(convert('\344', 'LATIN1', 'UTF8'), 'UTF8') FROM typed;
SELECT loid, md5(string_agg(data, '' ORDER BY pageno)) FROM pg_largeobject GROUP BY 1 ORDER BY 1;
SELECT oid, lomowner::regrole, lomacl, obj_description(oid, 'pg_largeobject') FROM pg_largeobject_metadata ORDER BY 1;
SELECT sequencename, last_value, increment_by, cache_size, cycle, data_type FROM pg_sequences WHERE schemaname = 'app' ORDER BY 1;
-- What holds
SELECT conrelid::regclass::text COLLATE "C", conname, convalidated, condeferrable, condeferred, connoinherit, pg_get_constraintdef(oid)
  FROM pg_constraint WHERE contype <> 'n' AND connamespace::regnamespace::text IN ('app', 'public') ORDER BY 1, 2;
SELECT indexrelid::regclass::text COLLATE "C", indisvalid, indisclustered, indisreplident, pg_get_expr(indpred, indrelid), pg_get_indexdef(indexrelid)
  FROM pg_index JOIN pg_class c ON c.oid = indrelid WHERE relnamespace::regnamespace::text IN ('app', 'public') ORDER BY 1;
SELECT tgrelid::regclass::text COLLATE "C", tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal AND tgparentid = 0 ORDER BY 1, 2;
SELECT ev_class::regclass::text COLLATE "C", rulename, ev_enabled FROM pg_rewrite WHERE rulename <> '_RETURN' AND ev_class >= 16384 ORDER BY 1, 2;
SELECT evtname, evtenabled, evttags FROM pg_event_trigger ORDER BY 1;
SELECT oid::regclass::text COLLATE "C", relreplident, relrowsecurity, relforcerowsecurity, reloptions, relpersistence, relowner::regrole FROM pg_class
  WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND relnamespace::regnamespace::text IN ('app', 'public') ORDER BY 1;
SELECT attrelid::regclass::text COLLATE "C", attname, attstorage, attoptions, attidentity, attgenerated FROM pg_attribute
  WHERE attrelid IN ('orders'::regclass, 'docs'::regclass) AND attnum > 0 ORDER BY 1, 2;
SELECT stxname, pg_get_statisticsobjdef(oid) FROM pg_statistic_ext ORDER BY 1;
SELECT enumlabel FROM pg_enum WHERE enumtypid = 'colour'::regtype ORDER BY enumsortorder;
SELECT pubname, puballtables, pubinsert, pubupdate, pubviaroot FROM pg_publication ORDER BY 1;
SELECT umuser::regrole::text COLLATE "C", (SELECT array_agg(o ORDER BY o) FROM unnest(umoptions) o) FROM pg_user_mapping ORDER BY 1;
SELECT subname, subenabled, subslotname FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database());
-- What happens
BEGIN;
INSERT INTO orders (at, day, price) VALUES ('05/06/2024 00:30', '05/06/2024', '1.100,50') RETURNING id, at, price, length, raw, colour, tags, within, taxed, w;
SET CONSTRAINTS ALL IMMEDIATE;
UPDATE cheap SET price = '1,00' WHERE id = 94;
DELETE FROM docs WHERE t IN ('a', 'b');
INSERT INTO lines (order_id, part) VALUES (94, 9) RETURNING tableoid::regclass;
CREATE TABLE watched_table (a int);
SELECT * FROM log ORDER BY what;
SELECT t FROM docs ORDER BY t;
DO $$
DECLARE refused text; BEGIN
  FOREACH refused IN ARRAY ARRAY['INSERT INTO orders (at, day) VALUES (''05/06/2024 23:30+00'', ''05/06/2024'')',
    'INSERT INTO orders (at, day, price) VALUES (now(), now()::date, ''1.000.000,50'')', 'INSERT INTO booked VALUES (''[15/02/2024,)'')',
    'UPDATE orders SET tags = ''{a,b,c,d}'' WHERE id = 94', 'UPDATE orders SET id = 40 WHERE id = 28', 'INSERT INTO parent VALUES (0)', 'INSERT INTO lines (order_id, part) VALUES (7777, 1)']
  LOOP
    BEGIN
      EXECUTE refused;
      SET CONSTRAINTS ALL IMMEDIATE;
      RAISE EXCEPTION 'taken: %', refused USING ERRCODE = 'P0009';
    EXCEPTION WHEN integrity_constraint_violation THEN
    END;
  END LOOP;
END $$;
ROLLBACK;
BEGIN;
SET ROLE visitor;
SELECT t FROM docs ORDER BY t;
SELECT id, price FROM cheap ORDER BY id;
SELECT has_column_privilege('orders', 'price', 'UPDATE'), has_column_privilege('orders', 'price', 'SELECT'), has_type_privilege('colour', 'USAGE');
SET ROLE keeper;
SELECT t FROM docs ORDER BY t;
SHOW work_mem;
ROLLBACK;
SELECT setval('orders_id_seq', :orders), setval('lines_id_seq', :lines) \g /dev/null
