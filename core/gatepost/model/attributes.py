"""What the coordination server may switch off in a node, by the names of its capabilities.

Source: protocol document 7.9. Only those that this node follows are here.
"""

from __future__ import annotations

NO_UPNP = "disable-upnp"  # ask routers by NAT-PMP and PCP only
NO_PORTAL_CHECK = "disable-captive-portal-detection"
