#!/bin/sh
# Installs section3: install.sh [--dir DIR]
#
# Into DIR, or /usr/local/bin for root and ~/.local/bin for others. Linux on amd64 and arm64.
# Nothing is installed that is not signed by the keys below for this version and platform; needs minisign or openssl 3 to
# verify that, curl or wget to download, and of a system else what busybox has.
# All of it is one function that the last line calls: a script that was cut off does nothing.

section3_install() {
    set -eu
    LC_ALL=C
    export LC_ALL
    umask 022
    url='@RELEASE_URL@'
    keys='@RELEASE_KEYS@'

    say() { printf '%s\n' "install.sh: $*"; }
    die() {
        printf '%s\n' "install.sh: $*; nothing was installed" >&2
        exit 1
    }
    has() { command -v "$1" >/dev/null 2>&1; }

    case $url in
        https://* | http://127.0.0.1:* | http://localhost:*) ;;
        *) die "this copy was not made by packaging/release: it does not say where releases are" ;;
    esac

    dir=
    while [ $# -gt 0 ]; do
        case $1 in
            --dir)
                [ $# -gt 1 ] || die "--dir needs a folder"
                dir=$2
                shift 2
                ;;
            *) die "unknown argument \`$1\`; allowed is --dir DIR" ;;
        esac
    done
    if [ -z "$dir" ]; then
        if [ "$(id -u)" = 0 ]; then dir=/usr/local/bin; else dir=${HOME:?HOME is not set; say --dir DIR}/.local/bin; fi
    fi

    [ "$(uname -s)" = Linux ] || die "section3 is for Linux, this is $(uname -s)"
    case $(uname -m) in
        x86_64 | amd64) target=linux-amd64 ;;
        aarch64 | arm64) target=linux-arm64 ;;
        *) die "section3 is for amd64 and arm64, this is $(uname -m)" ;;
    esac

    # OpenSSL 3 is the first that signs and verifies Ed25519 from the command line.
    if has minisign; then
        verifier=minisign
    elif has openssl && openssl version | grep -q '^OpenSSL \([3-9]\|[1-9][0-9]\)\.' && openssl dgst -blake2b512 </dev/null >/dev/null 2>&1; then
        verifier=openssl
    else
        die "cannot verify signatures: install minisign, or openssl 3 (apt-get install minisign, apk add minisign)"
    fi
    if has curl; then
        fetcher=curl
    elif has wget; then
        fetcher=wget
    else
        die "cannot download: install curl or wget"
    fi

    # Not wget's own limit: that of busybox faults in some builds.
    within=
    if has timeout; then within='timeout 300'; fi

    mkdir -p "$dir" 2>/dev/null || die "cannot make the folder $dir"
    # In the folder itself, so that the last step is a rename.
    work=$(mktemp -d "$dir/.section3-install.XXXXXX" 2>/dev/null) || die "cannot write in $dir; say --dir DIR"
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM

    # get URL FILE MOST: what is longer is cut off, and then its signature does not match.
    get() {
        case $fetcher in
            curl) curl -fsS --proto '=https,http' --connect-timeout 10 --max-time 300 "$1" | head -c "$3" >"$2" ;;
            wget) $within wget -q -O - "$1" | head -c "$3" >"$2" ;;
        esac
        [ -s "$2" ] || die "cannot get $1"
    }

    # decode TEXT FILE SIZE: base64 of exactly so many bytes.
    decode() {
        printf '%s' "$1" | openssl base64 -d -A >"$2" 2>/dev/null && [ "$(wc -c <"$2")" -eq "$3" ]
    }

    # openssl_verify KEY FILE: what minisign does, see its section "signature format". Sets `comment`.
    openssl_verify() {
        [ "$(grep -c '' "$2.minisig")" -eq 4 ] || return 1
        decode "$1" "$work/key" 42 || die "a key in this script is damaged"
        decode "$(sed -n 2p "$2.minisig")" "$work/signature" 74 || return 1
        decode "$(sed -n 4p "$2.minisig")" "$work/global" 64 || return 1
        # Only prehashed signatures: `Ed` would be one of the old kind.
        [ "$(head -c 2 "$work/signature")" = ED ] || return 1
        head -c 10 "$work/key" | tail -c 8 >"$work/key.id"
        head -c 10 "$work/signature" | tail -c 8 >"$work/signature.id"
        cmp -s "$work/key.id" "$work/signature.id" || return 1
        tail -c 64 "$work/signature" >"$work/bare"
        # The frame of an Ed25519 key, RFC 8410.
        { printf '\060\052\060\005\006\003\053\145\160\003\041\000' && tail -c 32 "$work/key"; } >"$work/key.der"
        openssl dgst -blake2b512 -binary "$2" >"$work/hash" || return 1
        comment=$(sed -n '3s/^trusted comment: //p' "$2.minisig")
        { cat "$work/bare" && printf '%s' "$comment"; } >"$work/statement"
        for pair in hash:bare statement:global; do
            openssl pkeyutl -verify -pubin -keyform DER -inkey "$work/key.der" -rawin \
                -in "$work/${pair%:*}" -sigfile "$work/${pair#*:}" >/dev/null 2>&1 || return 1
        done
    }

    # verify FILE STATEMENT: FILE.minisig is by one of the keys, and says exactly this of FILE.
    verify() {
        for key in $keys; do
            comment=
            case $verifier in
                minisign) comment=$(minisign -V -H -Q -P "$key" -m "$1" -x "$1.minisig" 2>/dev/null) || continue ;;
                openssl) openssl_verify "$key" "$1" || continue ;;
            esac
            [ "$comment" = "$2" ] || die "$(basename "$1") is signed, but as another file than $2"
            return
        done
        die "the signature of $(basename "$1") is not accepted: it was changed, or is by another key"
    }

    sum() {
        if has sha256sum; then sha256sum <"$1"; else openssl dgst -sha256 -r <"$1"; fi | cut -d ' ' -f 1
    }

    # field NAME: a text of the manifest, which packaging/release writes in one line.
    field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" "$work/latest.json"; }

    # before ONE OTHER: RFC 3339 times sort as text.
    before() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort | head -n 1)" = "$1" ]; }

    get "$url/latest.json" "$work/latest.json" 65536
    get "$url/latest.json.minisig" "$work/latest.json.minisig" 4096
    version=$(field version)
    verify "$work/latest.json" "product=section3 version=$version target=manifest sha256=$(sum "$work/latest.json")"
    now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
    before "$now" "$(field expires)" || die "the release manifest expired at $(field expires), and it is now $now"
    before "$(field published)" "$now" || die "the release was published at $(field published), and it is now $now: set the clock"
    sha256=$(sed -n "s/.*\"$target\":{\"file\":\"section3-$target\",\"size\":[0-9]*,\"sha256\":\"\([0-9a-f]*\)\"}.*/\1/p" "$work/latest.json")
    [ -n "$sha256" ] || die "section3 $version is not released for $target"

    say "section3 $version for $target, verified with $verifier"
    get "$url/$version/section3-$target" "$work/section3" 67108864
    get "$url/$version/section3-$target.minisig" "$work/section3.minisig" 4096
    [ "$(sum "$work/section3")" = "$sha256" ] || die "section3-$target is not the file that the manifest names"
    verify "$work/section3" "product=section3 version=$version target=$target sha256=$sha256"

    chmod 0755 "$work/section3"
    case $("$work/section3" self version --json 2>/dev/null) in
        *"\"release\":\"$version\",\"target\":\"$target\""*) ;;
        *) die "the program does not run here, or is not what it is said to be" ;;
    esac
    [ ! -d "$dir/section3" ] || die "$dir/section3 is a folder"
    mv -f "$work/section3" "$dir/section3" || die "cannot put it in $dir"
    say "installed $dir/section3"
    case ":${PATH:-}:" in
        *":$dir:"*) ;;
        *) say "$dir is not in PATH" ;;
    esac
}

if :; then section3_install "$@"; fi
