"""What the fake node finds around itself: a LAN to share, one that clashes, and its uplink."""

from __future__ import annotations

from gatepost.model.surroundings import FoundNetwork, SurroundingsDocument

AROUND = SurroundingsDocument(
    networks=(
        FoundNetwork(
            network="192.168.7.0/24",
            interface="lan0",
            address="192.168.7.1",
            dhcp="192.168.7.100 to 192.168.7.199 by dnsmasq",
            proposed=True,
            why="hosts are behind this box in it",
        ),
        FoundNetwork(
            network="10.9.0.0/16",
            interface="lan1",
            address="10.9.0.1",
            why="another site has it too (10.9.0.0/16 at far): give this site an alias",
            overlaps=("10.9.0.0/16 at far",),
        ),
        FoundNetwork(
            network="192.168.0.0/24",
            interface="wan0",
            address="192.168.0.7",
            gateway="192.168.0.1",
            why="it leads to the internet; hosts are behind lan0, lan1",
        ),
    ),
    nat="one",
    nat_text="this box has 192.168.0.7, the internet sees 203.0.113.7",
)
