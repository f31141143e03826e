"""The policy: one HuJSON file, read, judged and compiled to what every node is told. No I/O."""
