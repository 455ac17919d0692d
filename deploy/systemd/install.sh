#!/usr/bin/env bash
# Installs karute on a machine with systemd, or another version of it over one that is there. Settings are left as they are.
#     sudo deploy/systemd/install.sh PATH_OF_KARUTE
# ROOT=/some/directory installs into a directory and starts nothing.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=${ROOT:-}
program=${1:-}
[ -x "$program" ] || { echo "install: name the program: $0 target/release/karute" >&2; exit 2; }
"$program" --version >/dev/null || { echo "install: $program does not run on this machine" >&2; exit 1; }
[ -n "$root" ] || [ "$(id -u)" = 0 ] || { echo 'install: run it as root (sudo)' >&2; exit 1; }

install -d "$root/usr/local/bin" "$root/etc/systemd/system"
# A running program cannot be overwritten, but another can take its name.
install -m 755 "$program" "$root/usr/local/bin/.karute.new"
mv -f "$root/usr/local/bin/.karute.new" "$root/usr/local/bin/karute"
install -m 755 "$here/karute-run" "$root/usr/local/bin/karute-run"
for unit in karute.service karute-{sync,backup}.{service,timer}; do
    install -m 644 "$here/$unit" "$root/etc/systemd/system/$unit"
done
install -m 644 "$here/journald@karute.conf" "$root/etc/systemd/journald@karute.conf"

install -d -m 700 "$root/etc/karute"
if [ ! -e "$root/etc/karute/karute.env" ]; then
    umask 077
    cat >"$root/etc/karute/karute.env" <<END
ENVIRONMENT=production
HOST=127.0.0.1
PORT=8000
ADMIN_API_KEY=$("$program" keygen)
KARUTE_AUDIT_KEY=$("$program" keygen)
ALLOWED_ORIGINS=
VECTOR_DB_SPREADSHEET_ID=
GCP_PROJECT_ID=
KARUTE_BUCKET=
KARUTE_BACKUP_FOLDER=
END
    echo "install: settings with new keys are in $root/etc/karute/karute.env: name the spreadsheet and the project there"
fi
[ -z "$root" ] || exit 0
systemctl daemon-reload
systemctl enable karute.service karute-sync.timer karute-backup.timer
echo 'install: now: systemctl restart karute && systemctl start karute-sync.timer karute-backup.timer && journalctl --namespace=karute -u karute -f'
