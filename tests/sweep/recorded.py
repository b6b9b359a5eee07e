"""Answers of the listing script from four userlands; the first three were recorded, the others follow manual pages."""

from __future__ import annotations

from nssh.ssh.framing import Answer


def answer(text: str) -> Answer:
    """Make the answer that has these lines."""
    lines = text.strip("\n").split("\n")
    return Answer(0, dict(line.partition(" ")[::2] for line in lines), lines)


_LINUX = """\
address 192.0.2.7 47240 10.0.0.5 22
own 127.0.0.1
own ::1
own 10.0.0.5
own 10.8.0.2
own fe80::fc:ff:fe00:1
now 1795481227
boot 6214a721-1489-44b7-bacd-7c5aead9a971
tick 321310
hertz 100
program 12479 /usr/bin/mosh-server
limit 12479
socket 12479 210389
process 12479 1 12478 -1 - 312239 mosh-server
process 12480 12479 12480 12510 pts/0 312239 sh
program 12487 /usr/bin/mosh-server (deleted)
limit 12487 5
socket 12487 210415
process 12487 1 12486 -1 - 312257 mosh-server
process 12488 12487 12488 12488 pts/1 312257 sh
program 12495 /usr/bin/mosh-server
limit 12495
socket 12495 211186
process 12495 1 12494 -1 - 320275 mosh-server
program 12496 /usr/bin/mosh-server
limit 12496
process 12496 12495 12496 12496 pts/2 320275 mosh-server
process 12510 12480 12510 12510 pts/0 312302 tmux: client
udp 210389 EA61
udp 210415 EA62
udp 211186 EA63
read 1795481136_/dev/pts/0
read 1795481146_/dev/pts/1
"""

DEBIAN = answer(
    _LINUX
    + """\
who alice    pts/0        Nov 24 00:45 (192.0.2.7 via mosh [12479])
who alice    pts/1        Nov 24 00:46 (mosh [12487])
who alice    pts/2        Nov 24 00:47 (mosh [12495])
"""
)

BUSYBOX = answer(
    _LINUX
    + """\
who alice           pts/0           00:01   Nov 24 00:45:37  192.0.2.7 via mosh [12479]
who alice           pts/1           00:01   Nov 24 00:46:10  mosh [12487]
who alice           pts/2           00:00   Nov 24 00:47:00  mosh [12495]
"""
)

WITHOUT_UTMP = answer(_LINUX)

PROCPS = answer("""\
address 192.0.2.7 47268 10.0.0.5 22
now 1795481227
ps 12479 1 12478 -1 ? Tue Nov 24 00:45:36 2026 mosh-server
ps 12480 12479 12480 12510 pts/0 Tue Nov 24 00:45:36 2026 sh
ps 12487 1 12486 -1 ? Tue Nov 24 00:45:36 2026 mosh-server
ps 12488 12487 12488 12488 pts/1 Tue Nov 24 00:45:36 2026 sh
ps 12510 12480 12510 12510 pts/0 Tue Nov 24 00:45:37 2026 tmux: client
port 12479 60001
port 12487 60002
who alice    pts/0        Nov 24 00:45 (192.0.2.7 via mosh [12479])
who alice    pts/1        Nov 24 00:46 (mosh [12487])
""")

FREEBSD = answer("""\
address 192.0.2.7 47268 10.0.0.5 22
now 1795481227
ps 812 1 811 0 - Tue Nov 24 00:45:36 2026     mosh-server
ps 813 812 813 901 pts/3 Tue Nov 24 00:45:36 2026     csh
ps 901 813 901 901 pts/3 Tue Nov 24 00:45:39 2026     vim
port 812 60001
port 812 60001
read 1795481136_/dev/pts/3
who alice            pts/3        Nov 24 00:46 (mosh [812])
""")

MACOS = answer("""\
address fd00::7 47268 fd00::5 22
now 1795481227
ps   812     1   811      0 ?? Tue Nov 24 00:45:36 2026     mosh-server
ps   813   812   813    813 ttys003 Tue Nov 24 00:45:36 2026     zsh
port 812 60001
read 1795481136_/dev/ttys003
who alice    console  Nov 20 09:00
""")

# What `ifconfig -a` says of one machine in four dialects.

_IFCONFIG_LINUX = """\
eth0: flags=4163<UP,BROADCAST,RUNNING,MULTICAST>  mtu 1400
        inet 192.0.2.2  netmask 255.255.255.0  broadcast 192.0.2.255
        inet6 fd00::2  prefixlen 64  scopeid 0x0<global>
        ether 02:fc:00:00:00:01  txqueuelen 1000  (Ethernet)
"""

_IFCONFIG_BUSYBOX = """\
eth0      Link encap:Ethernet  HWaddr 02:FC:00:00:00:01
          inet addr:192.0.2.2  Bcast:192.0.2.255  Mask:255.255.255.0
          inet6 addr: fd00::2/64 Scope:Global
          UP BROADCAST RUNNING MULTICAST  MTU:1400  Metric:1
"""

_IFCONFIG_FREEBSD = """\
em0: flags=1008843<UP,BROADCAST,RUNNING,SIMPLEX,MULTICAST,LOWER_UP> metric 0 mtu 1500
\tether 02:fc:00:00:00:01
\tinet 192.0.2.2 netmask 0xffffff00 broadcast 192.0.2.255
\tinet6 fd00::2 prefixlen 64 autoconf
\tinet6 fe80::fc:ff:fe00:1%em0 prefixlen 64 scopeid 0x1
"""

_IFCONFIG_MACOS = """\
en0: flags=8863<UP,BROADCAST,SMART,RUNNING,SIMPLEX,MULTICAST> mtu 1500
\toptions=6463<RXCSUM,TXCSUM,TSO4,TSO6,CHANNEL_IO,PARTIAL_CSUM,ZEROINVERT_CSUM>
\tinet6 fe80::10fc:ff:fe00:1%en0 prefixlen 64 secured scopeid 0xb
\tinet 192.0.2.2 netmask 0xffffff00 broadcast 192.0.2.255
\tinet6 fd00::2 prefixlen 64 autoconf secured
\tnd6 options=201<PERFORMNUD,DAD>
"""

_IP = """\
1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever
4: eth0    inet 192.0.2.2/24 brd 192.0.2.255 scope global eth0\\       valid_lft forever preferred_lft forever
4: eth0    inet6 fd00::2/64 scope global nodad \\       valid_lft forever preferred_lft forever
"""

INTERFACES = {"ip": _IP, "linux": _IFCONFIG_LINUX, "busybox": _IFCONFIG_BUSYBOX, "freebsd": _IFCONFIG_FREEBSD,
              "macos": _IFCONFIG_MACOS}  # fmt: skip
