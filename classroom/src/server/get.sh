#!/bin/sh
# Installs devops-lab and what the class needs, from the teacher's machine.
# It works in your home only, needs no root, and goes on where it was interrupted.
set -eu

url='{{url}}'
sha256='{{sha256}}'
size={{size}}
machine='{{machine}}'

case "${LC_ALL:-${LC_MESSAGES:-${LANG:-en}}}" in
  fr*) french=yes ;;
  *) french= ;;
esac
say() { if [ "$french" ]; then printf '%s\n' "$2" >&2; else printf '%s\n' "$1" >&2; fi; }
fail() { say "$1" "$2"; exit 1; }

system=$(uname -s) here=$(uname -m)
if [ "$system" != Linux ] || [ "$here" != "$machine" ]; then
  fail "This bundle is for Linux on $machine, and this machine is $system on $here. devops-lab does not exist for it here; share a machine with a neighbour." \
    "Ce paquet est pour Linux sur $machine, et cette machine est $system sur $here. devops-lab n’existe pas ici pour elle ; partagez la machine d’un voisin."
fi
for tool in sha256sum tar; do
  command -v "$tool" >/dev/null || fail "$tool is missing: install it first." "Il manque $tool : installez-le d’abord."
done

# The name is the checksum's: what was begun with another bundle is never mixed in.
kept="${XDG_CACHE_HOME:-$HOME/.cache}/devops-lab"
file="$kept/$sha256.bundle"
mkdir -p "$kept"
have() { if [ -f "$file" ]; then wc -c <"$file" | tr -d ' '; else echo 0; fi; }

before=$(have)
free=$(df -Pk "$kept" | awk 'NR == 2 { print $4 }')
if [ "$((free * 1024))" -lt "$((size - before))" ]; then
  fail "Not enough disk space in $kept: $(((size - before) / 1000000 + 1)) MB are needed, $((free / 1000)) MB are free." \
    "Pas assez de place dans $kept : il faut $(((size - before) / 1000000 + 1)) Mo, il y a $((free / 1000)) Mo."
fi

idle=0
while [ "$(have)" -lt "$size" ]; do
  before=$(have)
  if command -v curl >/dev/null; then
    curl -f -# -C - -o "$file" "$url" || true
  elif command -v wget >/dev/null; then
    wget -c -O "$file" "$url" || true
  else
    fail "Neither curl nor wget is here: install one of them." "Ni curl ni wget : installez l’un des deux."
  fi
  if [ "$(have)" -gt "$before" ]; then idle=0; else idle=$((idle + 1)); fi
  if [ "$idle" -ge 5 ]; then
    fail "The download does not go on. Type the same command again: it continues from $(have) of $size bytes." \
      "Le téléchargement n’avance plus. Tapez la même commande : elle reprend à $(have) octets sur $size."
  fi
  if [ "$(have)" -lt "$size" ]; then sleep 1; fi
done

found=$(sha256sum "$file" | cut -d ' ' -f 1)
if [ "$found" != "$sha256" ]; then
  rm -f "$file"
  fail "What came is damaged (SHA-256 $found instead of $sha256) and was removed. Type the same command again." \
    "Ce qui est arrivé est abîmé (SHA-256 $found au lieu de $sha256) et a été supprimé. Tapez la même commande à nouveau."
fi

tar -xOf "$file" program/devops-lab >"$kept/devops-lab"
chmod +x "$kept/devops-lab"
"$kept/devops-lab" bundle load "$file"
rm -f "$file" "$kept/devops-lab"
