-- A database with objects of every kind that pg_dump knows, whose answers depend on its own settings. psql -f, PostgreSQL 13 and newer.
\set ON_ERROR_STOP on
\set QUIET on
SET client_min_messages = error;
SELECT v >= 14 AS v14, v >= 15 AS v15, v >= 16 AS v16, v >= 17 AS v17, v >= 18 AS v18,
  EXISTS (SELECT FROM pg_collation WHERE collname = 'en-x-icu') AS icu, EXISTS (SELECT FROM pg_available_extensions WHERE name = 'citext') AS contrib
  FROM (SELECT current_setting('server_version_num')::int / 10000 AS v) s \gset
CREATE ROLE keeper;
CREATE ROLE visitor;
CREATE DATABASE everything OWNER keeper;
ALTER DATABASE everything SET timezone = 'Asia/Tokyo';
ALTER DATABASE everything SET datestyle = 'SQL, DMY';
ALTER DATABASE everything SET intervalstyle = 'sql_standard';
ALTER DATABASE everything SET lc_monetary = 'es_CO';
ALTER DATABASE everything SET bytea_output = 'escape';
ALTER DATABASE everything SET default_text_search_config = 'app.own';
ALTER DATABASE everything SET search_path = 'app', 'public';
ALTER ROLE keeper IN DATABASE everything SET work_mem = '7MB';
COMMENT ON DATABASE everything IS 'one of each';
GRANT CONNECT ON DATABASE everything TO visitor WITH GRANT OPTION;
\connect everything
SET client_min_messages = error;
CREATE SCHEMA app AUTHORIZATION keeper;
COMMENT ON SCHEMA app IS 'all of it';
GRANT USAGE ON SCHEMA app TO visitor;
ALTER DEFAULT PRIVILEGES FOR ROLE keeper IN SCHEMA app GRANT SELECT ON TABLES TO visitor;
ALTER DEFAULT PRIVILEGES FOR ROLE keeper REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
\if :contrib
CREATE EXTENSION citext SCHEMA public;
CREATE TABLE loud (name citext PRIMARY KEY);
INSERT INTO loud VALUES ('Anna'), ('bert');
\endif

-- Types
CREATE TYPE app.shell;
CREATE TYPE colour AS ENUM ('red', 'blue');
ALTER TYPE colour ADD VALUE 'green' BEFORE 'blue';
CREATE TYPE pair AS (at timestamptz, price money);
CREATE DOMAIN names AS text[] CHECK (cardinality(VALUE) < 4) DEFAULT '{NULL,"NULL",a}';
CREATE DOMAIN day_of_2024 AS date CHECK (VALUE BETWEEN '01/02/2024' AND '31/12/2024');
CREATE FUNCTION gap(float8, float8) RETURNS float8 LANGUAGE sql IMMUTABLE STRICT AS 'SELECT $1 - $2';
CREATE TYPE span AS RANGE (subtype = float8, subtype_diff = gap);
CREATE TYPE word;
CREATE FUNCTION word_in(cstring) RETURNS word LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION word_out(word) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE word (INPUT = word_in, OUTPUT = word_out, LIKE = text, CATEGORY = 'S');
REVOKE USAGE ON TYPE colour FROM PUBLIC;
GRANT USAGE ON TYPE colour TO visitor;

-- Languages, functions, operators, casts
CREATE FUNCTION other_handler() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler';
CREATE FUNCTION other_inline(internal) RETURNS void LANGUAGE c STRICT AS '$libdir/plpgsql', 'plpgsql_inline_handler';
CREATE FUNCTION other_validator(oid) RETURNS void LANGUAGE c STRICT AS '$libdir/plpgsql', 'plpgsql_validator';
CREATE LANGUAGE plother HANDLER other_handler INLINE other_inline VALIDATOR other_validator;
CREATE TRANSFORM FOR int LANGUAGE sql (FROM SQL WITH FUNCTION prsd_lextype(internal), TO SQL WITH FUNCTION int4recv(internal));
CREATE FUNCTION shown(pair) RETURNS text LANGUAGE plother STABLE AS $$ BEGIN RETURN $1.at::date || ' for ' || $1.price; END $$;
CREATE CAST (pair AS text) WITH FUNCTION shown(pair);
CREATE FUNCTION local_hour(timestamptz) RETURNS int LANGUAGE sql STABLE SET timezone = 'America/Lima' AS 'SELECT extract(hour FROM $1)::int';
CREATE PROCEDURE note(text) LANGUAGE sql AS 'SELECT $1';
CREATE AGGREGATE product(numeric) (SFUNC = numeric_mul, STYPE = numeric, INITCOND = '1');
CREATE FUNCTION less_by_length(text, text) RETURNS bool LANGUAGE sql IMMUTABLE STRICT AS 'SELECT (length($1), $1) < (length($2), $2)';
CREATE FUNCTION compared_by_length(text, text) RETURNS int LANGUAGE sql IMMUTABLE STRICT AS
  'SELECT CASE WHEN length($1) = length($2) THEN btarraycmp(ARRAY[$1], ARRAY[$2]) ELSE length($1) - length($2) END';
CREATE OPERATOR <<< (LEFTARG = text, RIGHTARG = text, FUNCTION = less_by_length);
CREATE OPERATOR FAMILY lengths USING btree;
CREATE OPERATOR CLASS by_length FOR TYPE text USING btree FAMILY lengths AS
  OPERATOR 1 <<<, OPERATOR 3 =, FUNCTION 1 compared_by_length(text, text);
CREATE CONVERSION latin FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
CREATE ACCESS METHOD other_heap TYPE TABLE HANDLER heap_tableam_handler;
COMMENT ON FUNCTION gap(float8, float8) IS 'with a ; and a '' in it';
ALTER FUNCTION gap(float8, float8) OWNER TO keeper;
\if :v14
CREATE FUNCTION body(a int, b int DEFAULT 7) RETURNS int LANGUAGE sql STABLE BEGIN ATOMIC SELECT a * 10 + b; END;
CREATE VIEW by_body AS SELECT body(1), body(2, b => 3) AS other;
\endif

-- Text search, collations
CREATE TEXT SEARCH PARSER plain_parser (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype);
CREATE TEXT SEARCH TEMPLATE plain_template (INIT = dsimple_init, LEXIZE = dsimple_lexize);
CREATE TEXT SEARCH DICTIONARY stems (TEMPLATE = snowball, Language = english, StopWords = english);
CREATE TEXT SEARCH DICTIONARY as_it_is (TEMPLATE = plain_template, StopWords = english, Accept = false);
CREATE TEXT SEARCH DICTIONARY same (TEMPLATE = synonym, Synonyms = synonym_sample);
CREATE TEXT SEARCH CONFIGURATION own (PARSER = plain_parser);
ALTER TEXT SEARCH CONFIGURATION own ADD MAPPING FOR asciiword, word WITH same, as_it_is, stems;
CREATE COLLATION bytes FROM "C";
\if :icu
CREATE COLLATION no_case (PROVIDER = icu, LOCALE = 'und-u-ks-level2', DETERMINISTIC = false);
CREATE COLLATION numbers (PROVIDER = icu, LOCALE = 'en-u-kn-true');
CREATE TABLE sorted (t text COLLATE no_case UNIQUE, n text COLLATE numbers);
INSERT INTO sorted VALUES ('Anna', 'a-10'), ('bert', 'a-9'), ('CARL', 'a-100');
CREATE MATERIALIZED VIEW sorted_so AS SELECT string_agg(n, ' ' ORDER BY n), count(*) FILTER (WHERE t = 'anna') AS annas FROM sorted;
\endif
\if :v17
CREATE COLLATION built_in (PROVIDER = builtin, LOCALE = 'C.UTF-8');
\endif

-- Tables
CREATE TABLE orders (
  id int GENERATED BY DEFAULT AS IDENTITY (INCREMENT BY -3 START WITH 100 MAXVALUE 1000 MINVALUE -1000 CACHE 5) PRIMARY KEY,
  at timestamptz NOT NULL, day date NOT NULL, price money DEFAULT '12,50', length interval DEFAULT '-1 2:03:04', raw bytea DEFAULT '\001a',
  colour colour DEFAULT 'green', tags names, ratio float8 DEFAULT 0.1::float8 + 0.2::float8, within span DEFAULT '[0.1,0.30000000000000004)',
  taxed numeric GENERATED ALWAYS AS (round(ratio::numeric * 100, 3)) STORED, w word DEFAULT 'it',
  CHECK (at::date = day), CONSTRAINT cheap CHECK (price < '1.000.000,50'));
INSERT INTO orders (at, day) SELECT t, t::date FROM generate_series('01/03/2024'::timestamptz, '08/03/2024', '7 h') t;
UPDATE orders SET price = '0,01', tags = '{}', raw = '\x00ff41', within = 'empty' WHERE id = 97;
INSERT INTO orders (at, day, price, tags) VALUES ('31/12/2024 23:30', '31/12/2024', NULL, NULL);
ALTER TABLE orders ADD CONSTRAINT later CHECK (id < 100) NOT VALID;
CREATE INDEX dear ON orders (price) INCLUDE (day) WHERE price > '10,25';
CREATE FUNCTION amount(money) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT $1::numeric';
CREATE INDEX by_month ON orders ((extract(month FROM day)), (amount(price)) DESC NULLS LAST) WITH (fillfactor = 70);
CREATE INDEX by_span ON orders USING gist (within);
CREATE INDEX by_time ON orders USING brin (at) WITH (pages_per_range = 2);
CREATE INDEX by_colour ON orders USING hash (colour);
CREATE INDEX by_tags ON orders USING gin ((tags::text[]));
ALTER INDEX by_month ALTER COLUMN 1 SET STATISTICS 7;
ALTER TABLE orders ALTER raw SET STORAGE EXTERNAL, ALTER ratio SET STATISTICS 12, ALTER day SET (n_distinct = -0.5),
  SET (autovacuum_enabled = false, toast.autovacuum_enabled = false, fillfactor = 80);
CREATE UNIQUE INDEX one_a_time ON orders (at);
ALTER TABLE orders CLUSTER ON one_a_time;
ALTER TABLE orders REPLICA IDENTITY USING INDEX one_a_time;
COMMENT ON COLUMN orders.w IS 'a type of its own';
COMMENT ON CONSTRAINT cheap ON orders IS 'by the database''s own lc_monetary';
GRANT SELECT (id, at), UPDATE (price) ON orders TO visitor;
GRANT SELECT, UPDATE, DELETE ON orders TO keeper WITH GRANT OPTION;

CREATE TABLE docs (t text COLLATE bytes, body text, v tsvector GENERATED ALWAYS AS (to_tsvector('app.own', body)) STORED);
INSERT INTO docs (t, body) VALUES ('b', 'The running cats of postgres'), ('B', 'indices and gogle'), ('a', NULL);
CREATE INDEX ON docs USING gin (v);
CREATE INDEX lengths ON docs (body by_length);
CREATE TABLE lines (id serial, order_id int REFERENCES orders ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED, other int, part int) PARTITION BY LIST (part);
CREATE TABLE lines_1 PARTITION OF lines FOR VALUES IN (1);
CREATE TABLE lines_rest PARTITION OF lines DEFAULT PARTITION BY HASH (id);
CREATE TABLE lines_rest_0 PARTITION OF lines_rest FOR VALUES WITH (MODULUS 1, REMAINDER 0);
INSERT INTO lines (order_id, part) SELECT id, 1 + id % 2 FROM orders;
CREATE INDEX ON lines (part, order_id);
CREATE TABLE by_day (at timestamptz) PARTITION BY RANGE (at);
CREATE TABLE by_day_1 PARTITION OF by_day FOR VALUES FROM (MINVALUE) TO ('02/03/2024');
CREATE TABLE by_day_2 PARTITION OF by_day FOR VALUES FROM ('02/03/2024') TO ('02/04/2024 12:00');
INSERT INTO by_day SELECT at FROM orders WHERE at < '01/04/2024';
CREATE TABLE parent (a int, CONSTRAINT alone CHECK (a > 0) NO INHERIT);
CREATE TABLE child (b text DEFAULT 'b') INHERITS (parent);
INSERT INTO parent VALUES (1);
INSERT INTO child VALUES (-1);
ALTER TABLE child ADD other int REFERENCES orders, ADD CONSTRAINT unchecked FOREIGN KEY (a) REFERENCES orders NOT VALID;
CREATE TABLE booked (during tsrange, EXCLUDE USING gist (during WITH &&));
INSERT INTO booked VALUES ('[01/02/2024,02/02/2024)'), ('[02/02/2024,)');
CREATE UNLOGGED TABLE unlogged AS SELECT 'some'::text AS t;
CREATE TABLE elsewhere_kept (a int) USING other_heap;
INSERT INTO elsewhere_kept VALUES (7);
CREATE TABLE typed OF pair;
INSERT INTO typed VALUES ('01/02/2024', '1,25');
CREATE TABLE no_columns ();
CREATE SEQUENCE odd INCREMENT -7 START 50 MINVALUE -100 MAXVALUE 60 CACHE 3 CYCLE;
SELECT nextval('odd'), nextval('odd') \g /dev/null
CREATE SEQUENCE untouched AS smallint START 5 OWNED BY docs.t;
\if :v14
CREATE TABLE packed (t text COMPRESSION pglz, m datemultirange);
INSERT INTO packed VALUES (repeat('x', 5000), '{[01/02/2024,03/02/2024),[05/02/2024,)}');
CREATE STATISTICS expressions ON (body || t), t FROM docs;
\endif
\if :v15
CREATE TABLE nulls (a int UNIQUE NULLS NOT DISTINCT, b int, c int, UNIQUE (b, c), FOREIGN KEY (b, c) REFERENCES nulls (b, c) ON DELETE SET NULL (c));
INSERT INTO nulls VALUES (NULL, 1, 1), (2, 1, 1 + 1);
\endif
\if :v18
CREATE TABLE temporal (id int4range, during daterange, twice int GENERATED ALWAYS AS (lower(id) * 2) VIRTUAL,
  CONSTRAINT here NOT NULL id, PRIMARY KEY (id, during WITHOUT OVERLAPS), CONSTRAINT unenforced CHECK (isempty(id)) NOT ENFORCED);
INSERT INTO temporal VALUES ('[1,2)', '[01/02/2024,03/02/2024)'), ('[1,2)', '[03/02/2024,)');
\endif

-- Sessions have the text search configuration of the database only now.
\connect everything
SET client_min_messages = error;

-- Views, rules, triggers, policies
CREATE VIEW first_of AS WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT n, '02/01/2024'::date AS d FROM r;
CREATE VIEW cheap WITH (security_barrier) AS SELECT id, price FROM orders WHERE price < '11,00' WITH LOCAL CHECK OPTION;
CREATE VIEW texts AS SELECT id, at::text AS at, price::text AS price, length::text AS length, raw::text AS raw, w::text AS w,
  (ROW(at, price)::pair)::text AS both, local_hour(at) AS hour, tags[1] IS NULL AS nothing FROM orders;
CREATE MATERIALIZED VIEW daily AS SELECT at::date AS day, count(*) AS orders, sum(price) AS sum, product(taxed) AS taxed FROM orders GROUP BY 1;
CREATE UNIQUE INDEX ON daily (day);
CREATE MATERIALIZED VIEW weekly AS SELECT to_char(day, 'IW') AS week, sum(sum)::text AS sum FROM daily GROUP BY 1;
CREATE MATERIALIZED VIEW not_filled AS SELECT * FROM weekly WITH NO DATA;
CREATE MATERIALIZED VIEW found AS SELECT t, to_tsvector(body) AS v, to_tsvector(body) @@ to_tsquery('cat & pgsql') AS cats FROM docs;
ALTER VIEW cheap OWNER TO keeper;
GRANT SELECT ON cheap TO visitor;
CREATE RULE into_docs AS ON INSERT TO first_of DO INSTEAD INSERT INTO docs (t) VALUES (NEW.n);
CREATE RULE never AS ON DELETE TO docs WHERE OLD.t = 'a' DO INSTEAD NOTHING;
CREATE RULE ignored AS ON UPDATE TO parent DO INSTEAD NOTHING;
ALTER TABLE parent DISABLE RULE ignored;
CREATE TABLE log (what text, at timestamptz DEFAULT '01/02/2024 03:04');
CREATE FUNCTION logged() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO app.log VALUES (tg_name); RETURN coalesce(NEW, OLD); END $$;
CREATE TRIGGER usual BEFORE INSERT ON orders FOR EACH ROW WHEN (NEW.price > '100,00') EXECUTE FUNCTION logged();
CREATE TRIGGER always AFTER INSERT ON orders FOR EACH STATEMENT EXECUTE FUNCTION logged();
CREATE TRIGGER replica AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION logged();
CREATE TRIGGER disabled AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION logged();
CREATE CONSTRAINT TRIGGER deferred AFTER INSERT ON orders DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION logged();
CREATE TRIGGER changed AFTER UPDATE ON orders REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION logged();
ALTER TABLE orders ENABLE ALWAYS TRIGGER always, ENABLE REPLICA TRIGGER replica, DISABLE TRIGGER disabled;
COMMENT ON TRIGGER always ON orders IS 'always';
CREATE TRIGGER instead INSTEAD OF UPDATE ON cheap FOR EACH ROW EXECUTE FUNCTION logged();
CREATE TRIGGER each AFTER INSERT ON lines FOR EACH ROW EXECUTE FUNCTION logged();
ALTER TABLE docs ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY, OWNER TO keeper;
CREATE POLICY seen ON docs AS PERMISSIVE FOR SELECT TO visitor, keeper USING (t <> 'a' OR current_user = 'keeper');
CREATE POLICY narrow ON docs AS RESTRICTIVE USING (t COLLATE bytes < 'c');
GRANT SELECT ON docs TO visitor;
CREATE FUNCTION watched() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO app.log VALUES (tg_tag); END $$;
CREATE EVENT TRIGGER watch ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION watched();
CREATE EVENT TRIGGER sleeping ON sql_drop EXECUTE FUNCTION watched();
ALTER EVENT TRIGGER watch ENABLE ALWAYS;
ALTER EVENT TRIGGER sleeping DISABLE;

-- What stands around them
CREATE STATISTICS many (ndistinct, mcv) ON day, colour FROM orders;
ALTER STATISTICS many SET STATISTICS 5;
CREATE PUBLICATION chosen FOR TABLE orders, lines WITH (publish = 'insert', publish_via_partition_root = true);
CREATE PUBLICATION everything FOR ALL TABLES WITH (publish = 'insert');
\if :v15
CREATE PUBLICATION parts FOR TABLE orders (id, at) WHERE (at > '01/02/2024');
CREATE PUBLICATION schemas FOR TABLES IN SCHEMA public;
CREATE VIEW as_whoever_asks WITH (security_invoker) AS SELECT * FROM docs;
\endif
CREATE SUBSCRIPTION followed CONNECTION 'host=/nowhere' PUBLICATION p WITH (connect = false, slot_name = NONE);
CREATE FOREIGN DATA WRAPPER nothing OPTIONS (a '1');
CREATE SERVER away TYPE 't' VERSION '1' FOREIGN DATA WRAPPER nothing OPTIONS (host 'nowhere');
CREATE USER MAPPING FOR visitor SERVER away OPTIONS ("user" 'x', password 'hunter2');
CREATE FOREIGN TABLE remote (a int OPTIONS (b 'c') NOT NULL, CHECK (a > 0)) SERVER away OPTIONS (d 'e');
GRANT USAGE ON FOREIGN SERVER away TO visitor;
REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC;
GRANT USAGE ON LANGUAGE plpgsql TO keeper;
SELECT lo_from_bytea(7001, 'large'), lo_from_bytea(7002, decode(repeat('00ff27', 50000), 'hex')), lo_from_bytea(7003, '') \g /dev/null
ALTER LARGE OBJECT 7002 OWNER TO keeper;
GRANT SELECT ON LARGE OBJECT 7001 TO visitor;
COMMENT ON LARGE OBJECT 7003 IS 'nothing';
ALTER TABLE log OWNER TO keeper;
