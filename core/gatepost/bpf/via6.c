/* 4via6: IPv6 from peers to IPv4 of a site and back, packet by packet (RFC 7915 in most points).
 * Sources: protocol document 7.1; RFC 7915; RFC 4291 2.5.
 *
 *   from a peer, as it leaves the tunnel            as the kernel goes on with it
 *   peer (IPv6) -> b1a:0:SITE:a.b.c.d    inward     alias of the peer (IPv4) -> a.b.c.d
 *   b1a:0:SITE:a.b.c.d -> peer (IPv6)    outward    a.b.c.d -> alias of the peer
 *
 * Behind `inward` stand the packet filter, which judges the alias, and a masquerade. An alias is
 * not the peer's own IPv4 address: a plain flow with the same ports would be the same flow then.
 *
 * What is not for a target of ours stays IPv6, and no network here takes it. What has no alias, or
 * cannot be said in the other IP version, is dropped and counted in `refused`; so is what comes
 * from a peer with an alias for its source already.
 *
 * Only for devices whose packets begin with the IP header. The tunnel hands over packets without a
 * sum over the whole (CHECKSUM_COMPLETE), so header sums need no account there.
 */
#include "kernel.h"

enum {
	IP4 = 20, IP6 = 40, ECHO = 8, QUOTED = 8, /* octets; of what an ICMP error quotes, ports */
	SMALL = 1260, /* an IPv4 packet up to this size may be taken apart, RFC 7915 5.1 */
	SMALLEST_MTU = 1280,
	LONGEST = 1536, /* octets of a datagram without a checksum */
	CHUNK = 256, /* octets that one call sums up */
	PEERS = 131072, TARGETS = 4096,
	MORE = 0x2000, WHOLE = 0x4000, PLACE = 0x1fff, /* of IPv4's fragment field */
};
#define PREFIX0 be32(0xfd7a115c)
#define PREFIX1 be32(0xa1e00b1a)

struct sender {
	u32 peer[4], site; /* all in network order */
};
struct target {
	u32 length, site, address; /* of the prefix: 32 bits of the site and what follows */
};
struct scratch {
	u64 words[LONGEST / 8];
};

MAP(aliases, MAP_HASH, struct sender, u32, PEERS, NO_PREALLOC);
MAP(peers, MAP_HASH, u32, struct sender, PEERS, NO_PREALLOC);
MAP(targets, MAP_LPM_TRIE, struct target, u32, TARGETS, NO_PREALLOC); /* 1: ours, 0: refused */
MAP(scratch, MAP_PERCPU_ARRAY, u32, struct scratch, 1, 0);
MAP(refused, MAP_ARRAY, u32, u64, 8, 0);
enum { NOT_A_TARGET, NO_PEER, NO_ALIAS, OTHER_PROTOCOL, OPTIONS, TOO_SHORT, NO_ROOM, FORGED }; /* why */

INLINE int refuse(u32 why)
{
	u64 *number = map_lookup(&refused, &why);
	if (number)
		__sync_fetch_and_add(number, 1);
	return DROP;
}

/* The sum that stands in a header: 16 bits, turned round. */
INLINE u16 folded(u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

INLINE u32 sum_of(const void *words, u32 size, u32 before)
{
	return (u32)checksum_difference(0, 0, words, size, before);
}

/* Loopback, link-local, multicast, broadcast, the mesh, and what is ours on this machine. */
INLINE int is_never(u32 address)
{
	u32 host = be32(address);
	return host >> 24 == 0 || host >> 24 == 127 || host >> 29 == 7 || host >> 16 == 0xa9fe ||
	       host >> 22 == 0x64400000u >> 22 || host >> 17 == 0xc6120000u >> 17;
}

INLINE int is_alias(u32 address)
{
	return be32(address) >> 22 == 0xf0400000u >> 22;
}

INLINE int is_target(u32 site, u32 address)
{
	struct target key = { 64, site, address };
	u32 *allowed = map_lookup(&targets, &key);
	return !is_never(address) && allowed && *allowed;
}

INLINE void write_ip4(u32 *to, u32 class, u32 length, u32 second, u32 hops_and_protocol, u32 source,
		      u32 destination)
{
	to[0] = be32(0x45000000u | class << 16 | length);
	to[1] = be32(second);
	to[2] = be32(hops_and_protocol << 16);
	to[3] = source;
	to[4] = destination;
	((u16 *)to)[5] = folded(sum_of(to, IP4, 0));
}

INLINE void write_ip6(u32 *to, u32 class, u32 length, u32 next, u32 hops)
{
	to[0] = be32(0x60000000u | class << 20);
	to[1] = be32(length << 16 | next << 8 | hops);
}

INLINE void write_via(u32 *to, u32 site, u32 address)
{
	to[0] = PREFIX0;
	to[1] = PREFIX1;
	to[2] = site;
	to[3] = address;
}

INLINE void copy_address(u32 *to, const u32 *from)
{
	to[0] = from[0];
	to[1] = from[1];
	to[2] = from[2];
	to[3] = from[3];
}

INLINE int has_ports(u32 protocol)
{
	return protocol == TCP || protocol == UDP;
}

/* Turn an echo's type and code, and give its sum what the addresses change. */
INLINE void patch_echo(struct packet *packet, u32 at, u32 first, u32 type, s64 difference)
{
	u16 before = first, after = (first & 0xff00) | type;
	checksum_l4(packet, at + 2, 0, difference, PSEUDO_HEADER);
	checksum_l4(packet, at + 2, before, after, 2);
	store(packet, at, &after, 2, 0);
}

INLINE void patch_ports(struct packet *packet, u32 at, u32 protocol, s64 difference)
{
	if (protocol == TCP)
		checksum_l4(packet, at + 16, 0, difference, PSEUDO_HEADER);
	else
		checksum_l4(packet, at + 6, 0, difference, PSEUDO_HEADER | KEEP_NO_CHECKSUM);
}

/* Replace a whole packet; errors are the only ones so short. */
INLINE int rebuild(struct packet *packet, u16 version, const void *from, u32 before, u32 size)
{
	if (change_tail(packet, before, 0) || change_type(packet, be16(version), 0) ||
	    store(packet, 0, from, size, 0))
		return refuse(NO_ROOM);
	return PASS;
}

/* --- inward ------------------------------------------------------------------------------ */

/* Say an ICMPv6 error as ICMP's: type, code and the last four octets; 0 if there is no such. */
INLINE int say_in_4(u32 type, u32 code, u32 rest, u32 *first, u32 *last)
{
	u32 mtu = rest > 65535 ? 65535 : rest < 88 ? 88 : rest;
	*last = 0;
	if (type == 1) {
		*first = 3 << 8 | (code == 4 ? 3 : code == 1 ? 10 : 1);
	} else if (type == 2) {
		*first = 3 << 8 | 4;
		*last = be32(mtu - 20);
	} else if (type == 3) {
		*first = 11 << 8 | code;
	} else if (type == 4 && code == 1) {
		*first = 3 << 8 | 2;
	} else {
		return 0;
	}
	return 1;
}

/* A peer's ICMPv6 error about a translated packet; `word` is its header. */
INLINE int error_inward(struct packet *packet, const u32 *word, u32 alias)
{
	u32 in[14], out[14] = {}, first; /* in: ICMP 8, IPv6 40, 8; out: IPv4 20, ICMP 8, IPv4 20, 8 */
	if (load(packet, IP6, in, sizeof in))
		return refuse(TOO_SHORT);
	u32 kind = be32(in[0]) >> 16;
	if (!say_in_4(kind >> 8, kind & 0xff, be32(in[1]), &first, &out[6]))
		return refuse(OTHER_PROTOCOL);
	struct sender to = { { in[8], in[9], in[10], in[11] }, in[6] };
	u32 *addressee = map_lookup(&aliases, &to);
	if (in[4] != PREFIX0 || in[5] != PREFIX1 || !addressee || *addressee != alias)
		return refuse(NO_PEER);
	u32 second = be32(in[3]), next = second >> 8 & 0xff, ports = in[12];
	if (next == ICMP6) {
		next = ICMP;
		ports = (ports & ~0xffu) | ((ports & 0xff) == 128 ? 8 : 0);
	} else if (!has_ports(next)) {
		return refuse(OTHER_PROTOCOL);
	}
	write_ip4(out, be32(word[0]) >> 20 & 0xff, 56, 0, (be32(word[1]) & 0xff) << 8 | ICMP, alias,
		  word[9]);
	write_ip4(out + 7, be32(in[2]) >> 20 & 0xff, (second >> 16) + IP4, 0,
		  (second & 0xff) << 8 | next, in[7], *addressee);
	out[5] = be32(first << 16);
	out[12] = ports;
	out[13] = in[13];
	((u16 *)out)[11] = folded(sum_of(out + 5, 36, 0));
	return rebuild(packet, IPV4, out, IP4 + 56, 56);
}

/* A packet, or a part of one with `fragment`; `word` is the header and 8 octets behind it. */
INLINE int packet_inward(struct packet *packet, const u32 *word, u32 alias, int fragment)
{
	u32 second = be32(word[1]), next = second >> 8 & 0xff, length = second >> 16, below;
	int is_first = 1;
	if (fragment) {
		u32 part = be32(word[10]);
		next = part >> 24;
		is_first = !(part & 0xfff8);
		below = (be32(word[11]) & 0xffff) << 16 | (part & 0xffff) >> 3 | (part & 1 ? MORE : 0);
		length -= 8;
		if (!has_ports(next))
			return refuse(OTHER_PROTOCOL);
	} else {
		u32 size = packet->segment_size ? packet->segment_size + 40 : length + IP4;
		below = size > SMALL ? WHOLE : random_number() << 16;
	}
	u32 header[5], to[2] = { alias, word[9] };
	s64 difference;
	if (next == ICMP6) {
		u32 pseudo[10] = { word[2], word[3], word[4], word[5], word[6], word[7], word[8],
				   word[9], be32(length), be32(ICMP6) };
		difference = checksum_difference(pseudo, sizeof pseudo, 0, 0, 0);
	} else {
		difference = checksum_difference(word + 2, 32, to, sizeof to, 0);
	}
	write_ip4(header, be32(word[0]) >> 20 & 0xff, length + IP4, below,
		  (second & 0xff) << 8 | (next == ICMP6 ? ICMP : next), alias, word[9]);
	if (change_type(packet, be16(IPV4), 0) ||
	    (fragment && adjust_room(packet, -8, ROOM_AT_NETWORK, 0)) ||
	    store(packet, 0, header, sizeof header, 0))
		return refuse(NO_ROOM);
	if (next == ICMP6)
		patch_echo(packet, IP4, word[10], (word[10] & 0xff) == 128 ? 8 : 0, difference);
	else if (is_first)
		patch_ports(packet, IP4, next, difference);
	return PASS;
}

PROGRAM(inward)
{
	u32 word[12];
	/* Aliases are made here and nowhere else; a peer that is an exit may send from any address. */
	if (packet->protocol == be16(IPV4) && !load(packet, 0, word, IP4) && is_alias(word[3]))
		return refuse(FORGED);
	if (packet->protocol != be16(IPV6) || load(packet, 0, word, sizeof word) ||
	    word[6] != PREFIX0 || word[7] != PREFIX1)
		return NEXT;
	if (!is_target(word[8], word[9])) {
		refuse(NOT_A_TARGET);
		return NEXT;
	}
	struct sender from = { { word[2], word[3], word[4], word[5] }, word[8] };
	u32 *alias = map_lookup(&aliases, &from);
	if (!alias)
		return refuse(NO_PEER);
	u32 next = be32(word[1]) >> 8 & 0xff, type = word[10] & 0xff;
	if (next == FRAGMENT)
		return packet_inward(packet, word, *alias, 1);
	if (next == ICMP6 && type < 128)
		return error_inward(packet, word, *alias);
	if (has_ports(next) || (next == ICMP6 && type < 130))
		return packet_inward(packet, word, *alias, 0);
	return refuse(OTHER_PROTOCOL);
}

/* --- outward ----------------------------------------------------------------------------- */

/* Say an ICMP error as ICMPv6's; 0 if there is no such. */
INLINE int say_in_6(u32 type, u32 code, u32 rest, u32 *first, u32 *last)
{
	u32 mtu = (rest & 0xffff) + 20;
	*last = 0;
	if (type == 3 && code == 4) {
		*first = 2 << 8;
		*last = be32(mtu < SMALLEST_MTU ? SMALLEST_MTU : mtu);
	} else if (type == 3 && code == 2) {
		*first = 4 << 8 | 1;
		*last = be32(6); /* where "next header" stands */
	} else if (type == 3) {
		*first = 1 << 8 | (code == 3 ? 4 : code == 9 || code == 10 || code == 13 || code == 15);
	} else if (type == 11) {
		*first = 3 << 8 | code;
	} else {
		return 0;
	}
	return 1;
}

/* An ICMP error of the site, or of this machine, about a packet of a peer. Who is no target, such
 * as this machine's own address in the mesh, could not be a sender in the tunnel: the error seems
 * to come from where the packet went. */
INLINE int error_outward(struct packet *packet, const u32 *header, const struct sender *to)
{
	/* in: ICMP 8, IPv4 20, 8; out: pseudo header 8, IPv6 40, ICMP 8, IPv6 40, 8 */
	u32 in[9], out[26] = {}, first;
	if (load(packet, IP4, in, sizeof in))
		return refuse(TOO_SHORT);
	u32 kind = be32(in[0]) >> 16;
	if (!say_in_6(kind >> 8, kind & 0xff, be32(in[1]), &first, &out[13]))
		return refuse(OTHER_PROTOCOL);
	u32 top = be32(in[2]), third = be32(in[4]), next = third >> 16 & 0xff, ports = in[7];
	if (top >> 24 != 0x45 || in[5] != header[4])
		return refuse(OPTIONS);
	if (next == ICMP) {
		next = ICMP6;
		ports = (ports & ~0xffu) | ((ports & 0xff) == 8 ? 128 : 129);
	} else if (!has_ports(next)) {
		return refuse(OTHER_PROTOCOL);
	}
	write_ip6(out + 2, be32(header[0]) >> 16 & 0xff, 56, ICMP6, be32(header[2]) >> 24);
	write_via(out + 4, to->site, is_target(to->site, header[3]) ? header[3] : in[6]);
	copy_address(out + 8, to->peer);
	out[12] = be32(first << 16);
	write_ip6(out + 14, top >> 16 & 0xff, (top & 0xffff) - IP4, next, third >> 24);
	copy_address(out + 16, to->peer);
	write_via(out + 20, to->site, in[6]);
	out[24] = ports;
	out[25] = in[8];
	u32 pseudo[2] = { be32(56), be32(ICMP6) };
	((u16 *)out)[25] = folded(sum_of(pseudo, sizeof pseudo, sum_of(out + 4, 88, 0)));
	return rebuild(packet, IPV6, out + 2, IP4 + 56, 96);
}

/* Sum up a datagram whose sender left that out; 0 if that cannot be done. */
INLINE u16 sum_up(struct packet *packet, const u32 *header6, u32 length)
{
	u32 zero = 0, pseudo[2] = { be32(length), be32(UDP) };
	struct scratch *scratch_here = map_lookup(&scratch, &zero);
	if (!scratch_here || packet->segment_size)
		return 0;
	volatile u64 *words = scratch_here->words; /* else it becomes memset, which is not there */
#pragma unroll
	for (u32 i = 0; i < LONGEST / 8; i++)
		words[i] = 0;
	u8 *octets = (u8 *)scratch_here->words;
	asm volatile("" : "+r"(length));
	if (length < 8 || length > LONGEST || load(packet, IP4, octets, length))
		return 0;
	u32 sum = sum_of(pseudo, sizeof pseudo, sum_of(header6 + 2, 32, 0));
#pragma unroll
	for (u32 at = 0; at < LONGEST; at += CHUNK)
		sum = sum_of(octets + at, CHUNK, sum);
	u16 found = folded(sum);
	return found ? found : 0xffff;
}

INLINE int packet_outward(struct packet *packet, const u32 *word, const struct sender *to)
{
	u32 third = be32(word[2]), below = be32(word[1]), next = third >> 16 & 0xff;
	u32 length = (be32(word[0]) & 0xffff) - IP4, header[12], at = IP6;
	int fragment = (below & (MORE | PLACE)) != 0, is_first = !(below & PLACE);
	int is_echo = next == ICMP;
	u16 made = 0;
	next = is_echo ? ICMP6 : next;
	write_ip6(header, be32(word[0]) >> 16 & 0xff, length + (fragment ? 8 : 0),
		  fragment ? FRAGMENT : next, third >> 24);
	write_via(header + 2, to->site, word[3]);
	copy_address(header + 6, to->peer);
	s64 difference = checksum_difference(word + 3, is_echo ? 0 : 8, header + 2, 32, 0);
	if (is_echo) {
		u32 pseudo[2] = { be32(length), be32(ICMP6) };
		difference = sum_of(pseudo, sizeof pseudo, difference);
	}
	if (next == UDP && is_first && !(word[6] >> 16)) {
		made = fragment ? 0 : sum_up(packet, header, length);
		if (!made)
			return refuse(NO_ROOM);
	}
	header[10] = be32(next << 24 | (below & PLACE) << 3 | (below & MORE ? 1 : 0));
	header[11] = be32(below >> 16);
	if (change_type(packet, be16(IPV6), 0))
		return refuse(NO_ROOM);
	if (fragment) {
		at = IP6 + 8;
		if (adjust_room(packet, 8, ROOM_AT_NETWORK, 0) || store(packet, 0, header, 48, 0))
			return refuse(NO_ROOM);
	} else if (store(packet, 0, header, IP6, 0)) {
		return refuse(NO_ROOM);
	}
	if (is_echo)
		patch_echo(packet, at, word[5], (word[5] & 0xff) == 8 ? 128 : 129, difference);
	else if (made)
		store(packet, at + 6, &made, 2, 0);
	else if (is_first)
		patch_ports(packet, at, next, difference);
	return PASS;
}

PROGRAM(outward)
{
	u32 word[7] = {};
	if (packet->protocol != be16(IPV4) || load(packet, 0, word, IP4) ||
	    !is_alias(word[4]))
		return NEXT;
	/* Only the last part of a datagram may be shorter than a header of ports. */
	if (load(packet, IP4, word + 5, 8) && !(be32(word[1]) & PLACE))
		return refuse(TOO_SHORT);
	if (be32(word[0]) >> 24 != 0x45)
		return refuse(OPTIONS);
	struct sender *to = map_lookup(&peers, &word[4]);
	if (!to)
		return refuse(NO_ALIAS);
	u32 next = be32(word[2]) >> 16 & 0xff, type = word[5] & 0xff;
	if (has_ports(next))
		return packet_outward(packet, word, to);
	if (next != ICMP || be32(word[1]) & (MORE | PLACE))
		return refuse(OTHER_PROTOCOL);
	if (type == 0 || type == 8)
		return packet_outward(packet, word, to);
	return error_outward(packet, word, to);
}

LICENSE;
