"""The policy of a mesh for which none was written."""

DEFAULT_POLICY = """\
// Everybody may reach everybody, and every approved subnet and exit node.
{
	"acls": [
		{"action": "accept", "src": ["*"], "dst": ["*:*"]},
	],
}
"""
