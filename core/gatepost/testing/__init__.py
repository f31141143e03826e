"""What plugin authors and our own tests share: makers, fakes, network namespaces, the lab."""
