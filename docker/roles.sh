#!/usr/bin/env bash
# Creates the two roles and the schema, and sets the roles' passwords. The database's image runs it once, when it
# initialises its volume; `docker compose exec db roles` runs it again after a password was changed.
#
#   ledger         trains and migrates: owns the schema of the same name and its contents, nothing else
#   ledger_reader  queries: can read that schema, and write nothing that outlives its session
set -euo pipefail

psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username postgres --dbname ledger <<'SQL'
-- A failed statement must not write a password to the server's log.
SET log_min_error_statement = panic;
SET log_statement = none;
SET client_min_messages = warning;
\set admin_password `cat /run/passwords/postgres/password`
\set ledger_password `cat /run/passwords/ledger/password`
\set reader_password `cat /run/passwords/ledger_reader/password`

BEGIN;
SELECT format('CREATE ROLE %I', name) FROM unnest(ARRAY['ledger', 'ledger_reader']) name
WHERE name NOT IN (SELECT rolname FROM pg_roles)
\gexec
ALTER ROLE postgres PASSWORD :'admin_password';
ALTER ROLE ledger LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'ledger_password';
ALTER ROLE ledger_reader LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'reader_password'
  CONNECTION LIMIT 20;
ALTER ROLE ledger_reader SET temp_file_limit = '1GB';

CREATE SCHEMA IF NOT EXISTS ledger AUTHORIZATION ledger;
ALTER DATABASE ledger SET search_path = ledger;
REVOKE ALL ON DATABASE ledger, postgres, template1 FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION lo_create(oid), lo_creat(integer), lo_from_bytea(oid, bytea) FROM PUBLIC;
GRANT CONNECT ON DATABASE ledger TO ledger, ledger_reader;
-- `job query` wraps a query in a temporary function, which exists within its transaction.
GRANT TEMPORARY ON DATABASE ledger TO ledger, ledger_reader;
GRANT USAGE ON SCHEMA ledger TO ledger_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA ledger TO ledger_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE ledger IN SCHEMA ledger GRANT SELECT ON TABLES TO ledger_reader;
COMMIT;
SQL
