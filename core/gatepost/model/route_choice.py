"""Which of the networks that others carry a machine uses."""

from __future__ import annotations

from dataclasses import dataclass

from gatepost.model.netmap import IPNetwork


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteChoice:
    """All networks, or `only` those in a list, and in both cases none of the `refused` ones.

    A prefix in a list stands for itself and for every narrower one within it.
    """

    only: tuple[IPNetwork, ...] | None = None
    refused: tuple[IPNetwork, ...] = ()

    @property
    def is_everything(self) -> bool:
        return self.only is None and not self.refused

    def takes(self, network: IPNetwork) -> bool:
        if any(_is_within(network, refused) for refused in self.refused):
            return False
        return self.only is None or any(_is_within(network, wanted) for wanted in self.only)


ANY_ROUTE = RouteChoice()


def _is_within(network: IPNetwork, outer: IPNetwork) -> bool:
    return (
        network.version == outer.version
        and outer.prefixlen <= network.prefixlen
        and network.network_address in outer
    )
