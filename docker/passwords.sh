#!/usr/bin/env bash
# Writes each role's password into that role's volume: the user's password, if given as a compose secret, otherwise a
# random one on first use. Prints what it did, never a password.
set -euo pipefail
umask 077

readonly SERVER=999 JOB=10001 # the users of the database's and the job's containers

# keep ROLE PASSWORD: writes the file atomically; only the job's user and the server's group can read it.
keep() {
  local kept=/passwords/$1/password
  rm -f "$kept.new" # an earlier attempt may have been killed
  printf '%s\n' "$2" >"$kept.new"
  chmod 0440 "$kept.new"
  chown "$JOB:$SERVER" "$kept.new"
  mv "$kept.new" "$kept"
}

for role in postgres ledger ledger_reader; do
  kept=/passwords/$role/password
  given=$(<"/run/secrets/${role}_password")
  if [[ $given == *[[:cntrl:]]* ]]; then
    echo "passwords: error: the file given for $role holds more than one line, or a control character" >&2
    exit 2
  elif [[ -n $given && -e $kept && $given != "$(<"$kept")" ]]; then
    keep "$role" "$given"
    echo "passwords: $role: another one was given; tell the database: docker compose exec db roles"
  elif [[ -n $given ]]; then
    keep "$role" "$given"
    echo "passwords: $role: as given"
  elif [[ -s $kept ]]; then
    echo "passwords: $role: as before"
  else
    keep "$role" "$(head -c 24 /dev/urandom | base64 | tr '/+' '_-')"
    echo "passwords: $role: a new one, chosen at random"
  fi
done
