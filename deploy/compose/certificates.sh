#!/bin/sh
# Fills a directory with what the compose file needs: a CA, the control planes' certificate, one per data plane, one for nginx, and the
# key-encryption key. What is there stays as it is. OWNER is the user that hopgate runs as.
set -eu
dir=${1:?usage: certificates.sh DIR}
owner=${OWNER:-65532:65532}
umask 077
mkdir -p "$dir"
cd "$dir"

[ -s ca.pem ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -keyout ca.key -out ca.pem -subj "/CN=hopgate ca" 2>/dev/null

# issue NAME SUBJECTALTNAME USAGE
issue() {
	[ ! -s "$1.pem" ] || return 0
	printf 'subjectAltName=%s\nextendedKeyUsage=%s\n' "$2" "$3" >"$1.ext"
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.csr" -subj "/CN=$1" 2>/dev/null
	openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 365 -extfile "$1.ext" -out "$1.pem" 2>/dev/null
	rm "$1.csr" "$1.ext"
}

issue control "DNS:control-1,DNS:control-2,DNS:localhost,IP:127.0.0.1" serverAuth
for node in eu-1 eu-2 us-1 us-2; do
	issue "$node" "URI:spiffe://hopgate.example/dp/${node%-*}/$node" clientAuth
done
issue edge "DNS:mcp.example.com,DNS:localhost,IP:127.0.0.1" serverAuth

# Losing it loses the store: keep a copy elsewhere.
[ -s kek ] || openssl rand -hex 32 >kek

chmod 755 . && chmod 644 ./*.pem && chmod 600 ./*.key kek
chown "$owner" ./control.key ./eu-*.key ./us-*.key kek
