"""What the coordination server may switch off in a node, by the names of its capabilities.

Source: protocol document 7.9. Only those that this node follows are here:
disable-captive-portal-detection is not one, because it forbids looking all the
time and at other companies' hosts, and not what `netcheck` does when asked.
"""

from __future__ import annotations

NO_UPNP = "disable-upnp"  # ask routers by NAT-PMP and PCP only
