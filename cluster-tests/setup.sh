#!/bin/sh
# Installs what the tests need on a fresh Debian 12 with Rust, gcc and Python; does nothing where it is there.
set -eu

need() { # need COMMAND PACKAGE
    command -v "$1" >/dev/null 2>&1 || packages="${packages:-} $2"
}
packages=
need nft nftables
need ip iproute2
need curl curl
need swaks swaks
need mbsync isync
need gsasl gsasl
need mpop mpop
need offlineimap offlineimap3
need sieve-connect sieve-connect
need fetchmail fetchmail
need mutt mutt
need postconf postfix
need patch patch
ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || packages="${packages:-} libfaketime"
# Says whether seals hold; Debian's Python has it.
/usr/bin/python3 -c 'import dkim' 2>/dev/null || packages="${packages:-} python3-dkim"
# swaks speaks TLS through it.
perl -MNet::SSLeay -e 1 2>/dev/null || packages="${packages:-} libnet-ssleay-perl"
if [ -n "$packages" ]; then
    if [ "$(id -u)" = 0 ]; then sudo=; else sudo=sudo; fi
    # Programs that would be services are for the tests alone: no package starts one.
    policy=/usr/sbin/policy-rc.d
    [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null; $sudo chmod 755 $policy; trap "$sudo rm -f $policy" EXIT; }
    echo 'postfix postfix/main_mailer_type select No configuration' | $sudo debconf-set-selections
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get update -q
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $packages
fi
command -v cargo-nextest >/dev/null 2>&1 || cargo install cargo-nextest --locked
