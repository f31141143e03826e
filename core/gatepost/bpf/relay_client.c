/* The client's side of a peer relay: put an 8-byte Geneve header on WireGuard's packets, and take
 * it off again. Source: protocol document 4; data path document, G.
 *
 *   WireGuard <--UDP--> stand-in, port 1          on the wire: relay's address and port
 *                       [packet]         <------>              [Geneve, VNI][packet]
 *
 * Per place at a relay (its address and port, and a VNI) the user makes up a stand-in: an address
 * of 198.18.0.0/15 or 2001:2::/48 (RFC 2544, RFC 5180: never on the internet), always with port 1.
 * `wrap` runs where packets leave, `unwrap` where they come in. To everything between, which is
 * routing, connection tracking, NAT, packet filter and WireGuard, the peer is at the stand-in.
 *
 * Path discovery's packets to a stand-in have their header already and keep it; only the address
 * changes. So a NAT on this machine gives both the same port, which is what the relay has bound.
 *
 * WireGuard's packets may be given another sender than the stand-in: the address that it sends to
 * just now, else it would follow the packets back to the relay.
 *
 * Room is made at the end and the payload moved, both ways where a checksum is due: space put in
 * front of the UDP header would leave the kernel's "checksum starts here" pointing at the wrong
 * place (CHECKSUM_PARTIAL, which is what WireGuard sends and what a virtual machine receives).
 */
#include "kernel.h"

enum {
	GENEVE = 8, GENEVE_UDP = 8,
	STAND_IN_PORT = 1,
	ETHERNET = 14, IPV4_HEADER = 20, IPV6_HEADER = 40,
	LONGEST = 2040, /* octets of payload */
	MASK = 0x7ff, /* what the verifier believes of a length without doubt, whichever way we look */
	PLACES = 8192,
};
enum { RECOMPUTE = 1 }; /* store: the sum that the device made of the whole packet follows */
#define WIREGUARD_KIND 0x7a12
#define DISCO_KIND 0x7a11

struct address {
	u32 word[4]; /* IPv4 as ::ffff:a.b.c.d */
};
struct place {
	struct address relay;
	u16 port, none; /* in network order */
	u32 vni; /* as the header has it: 24 bits in network order, then a zero octet */
};
struct senders {
	struct address stand_in, address; /* of path discovery's packets, and of WireGuard's */
	u16 port, none; /* of WireGuard's */
};
struct scratch {
	u8 octets[GENEVE + MASK + 1];
};

MAP(places, MAP_HASH, struct address, struct place, PLACES, NO_PREALLOC);
MAP(senders, MAP_HASH, struct place, struct senders, PLACES, NO_PREALLOC);
MAP(scratch, MAP_PERCPU_ARRAY, u32, struct scratch, 1, 0);
MAP(refused, MAP_ARRAY, u32, u64, 2, 0);
enum { BATCHES, TOO_LONG }; /* why a packet was dropped */

INLINE int refuse(u32 why)
{
	u64 *number = map_lookup(&refused, &why);
	if (number)
		__sync_fetch_and_add(number, 1);
	return DROP;
}

INLINE struct address mapped(u32 address)
{
	return (struct address){ { 0, 0, be32(0xffff), address } };
}

/* Several packets in one, to be split later: only the first one's header can be seen to here. */
INLINE int is_batch(struct packet *packet)
{
	return packet->segments > 1;
}

INLINE u32 geneve_kind(const u8 *header)
{
	return header[2] << 8 | header[3];
}

/* Offsets in a packet, of both versions of IP, with or without Ethernet in front. */
struct layout {
	u32 ip, udp, payload;
	int is_v6;
};

INLINE struct layout layout(u32 link, int is_v6)
{
	u32 udp = link + (is_v6 ? IPV6_HEADER : IPV4_HEADER);
	return (struct layout){ link, udp, udp + 8, is_v6 };
}

/* Make so many octets readable directly, if there are as many; the kernel may keep all but the
 * headers elsewhere. The caller looks again at where the packet begins and ends: an address that may be nothing
 * cannot be compared with nothing without CAP_PERFMON. */
INLINE void reach(struct packet *packet, u32 octets)
{
	if (DATA(packet) + octets > DATA_END(packet))
		pull(packet, octets);
}

/* Change the checksum of UDP for what stands in both a header and the sum of the addresses. */
INLINE void count_address(struct packet *packet, const struct layout *at, const struct address *from,
			  const struct address *to)
{
	u32 first = at->is_v6 ? 0 : 3;
#pragma unroll
	for (u32 i = 0; i < 4; i++)
		if (i >= first)
			checksum_l4(packet, at->udp + 6, from->word[i], to->word[i],
				    PSEUDO_HEADER | KEEP_NO_CHECKSUM | 4);
}

INLINE void count_word(struct packet *packet, const struct layout *at, u32 from, u32 to)
{
	checksum_l4(packet, at->udp + 6, from, to, KEEP_NO_CHECKSUM | 4);
}

/* Write a new length into the headers of IP and UDP, and into all checksums. */
INLINE void set_length(struct packet *packet, const struct layout *at, u16 before, int difference)
{
	u16 from = before, to = be16(be16(before) + difference);
	checksum_l4(packet, at->udp + 6, from, to, PSEUDO_HEADER | KEEP_NO_CHECKSUM | 2);
	checksum_l4(packet, at->udp + 6, from, to, KEEP_NO_CHECKSUM | 2);
	store(packet, at->udp + 4, &to, 2, 0);
	if (at->is_v6) { /* the payload of IPv6 is as long as the UDP packet */
		store(packet, at->ip + 4, &to, 2, RECOMPUTE);
		return;
	}
	u16 whole = be16(be16(before) + IPV4_HEADER), now = be16(be16(to) + IPV4_HEADER);
	checksum_l3(packet, at->ip + 10, whole, now, 2);
	store(packet, at->ip + 2, &now, 2, 0);
}

/* Write another address and port: of the sender, or of the receiver. */
INLINE void set_end(struct packet *packet, const struct layout *at, int is_receiver,
		    const struct address *from, const struct address *to, u16 old, u16 port)
{
	u32 where = at->ip + (at->is_v6 ? 8 + is_receiver * 16 : 12 + is_receiver * 4);
	count_address(packet, at, from, to);
	if (at->is_v6) {
		store(packet, where, to, 16, RECOMPUTE);
	} else {
		checksum_l3(packet, at->ip + 10, from->word[3], to->word[3], 4);
		store(packet, where, &to->word[3], 4, 0);
	}
	checksum_l4(packet, at->udp + 6, old, port, KEEP_NO_CHECKSUM | 2);
	store(packet, at->udp + is_receiver * 2, &port, 2, 0);
}

/* --- out ------------------------------------------------------------------------------------- */

INLINE int push(struct packet *packet, const struct layout *at, u32 vni, u16 length)
{
	u32 zero = 0, head[2] = { be32(WIREGUARD_KIND), vni };
	u64 size = packet->length - at->payload;
	struct scratch *scratch_ = map_lookup(&scratch, &zero);
	if (!scratch_)
		return DROP;
	if (size < 1 || size > LONGEST)
		return refuse(TOO_LONG);
	u64 less = size - 1; /* so that the verifier sees 1 to 2048 after the mask */
	asm volatile("%0 &= %1" : "+r"(less) : "i"(MASK));
	if (load(packet, at->payload, scratch_->octets + GENEVE, less + 1))
		return DROP;
	*(u32 *)scratch_->octets = head[0];
	*(u32 *)(scratch_->octets + 4) = head[1];
	if (change_tail(packet, packet->length + GENEVE, 0))
		return DROP;
	if (store(packet, at->payload, scratch_->octets, less + 1 + GENEVE, 0))
		return DROP;
	count_word(packet, at, 0, head[0]);
	count_word(packet, at, 0, head[1]);
	set_length(packet, at, length, GENEVE);
	return PASS;
}

INLINE int leave(struct packet *packet, struct layout at)
{
	u8 *data = DATA(packet);
	if (data + at.payload > DATA_END(packet))
		return NEXT;
	struct udp *udp = (void *)(data + at.udp);
	if (udp->to != be16(STAND_IN_PORT))
		return NEXT;
	u16 length = udp->length;
	struct address stand_in;
	if (at.is_v6)
		stand_in = *(struct address *)(data + at.ip + 24);
	else
		stand_in = mapped(*(u32 *)(data + at.ip + 16));
	struct place *place = map_lookup(&places, &stand_in);
	if (!place)
		return NEXT;
	if (is_batch(packet))
		return refuse(BATCHES);
	struct place to = *place;
	reach(packet, at.payload + GENEVE);
	data = DATA(packet);
	if (data + at.payload + GENEVE > DATA_END(packet))
		return NEXT;
	int is_wireguard = data[at.payload] != 0; /* a Geneve header begins with 0 */
	if (at.payload + be16(length) - 8 != packet->length)
		return NEXT;
	if (is_wireguard && push(packet, &at, to.vni, length) != PASS)
		return DROP;
	set_end(packet, &at, 1, &stand_in, &to.relay, be16(STAND_IN_PORT), to.port);
	return NEXT;
}

/* --- in -------------------------------------------------------------------------------------- */

/* The header of IPv4 moves by 8 and that of UDP is written again, without a checksum: what is
 * inside has its own. Nothing long is copied. */
INLINE int pop_v4(struct packet *packet, const struct layout *at, const struct udp *before)
{
	u16 whole = be16(be16(before->length) + IPV4_HEADER), now = be16(be16(whole) - GENEVE);
	struct udp udp = { before->from, before->to, be16(be16(before->length) - GENEVE), 0 };
	if (adjust_room(packet, -GENEVE, ROOM_AT_NETWORK, 0))
		return DROP;
	checksum_l3(packet, at->ip + 10, whole, now, 2);
	store(packet, at->ip + 2, &now, 2, 0);
	store(packet, at->udp, &udp, sizeof(udp), RECOMPUTE);
	return PASS;
}

/* IPv6 has no UDP without checksum, so the payload moves and the headers stay. */
INLINE int pop_v6(struct packet *packet, const struct layout *at, const u32 *head, u16 length)
{
	u32 zero = 0, none[2] = {};
	u64 size = packet->length - at->payload - GENEVE;
	struct scratch *scratch_ = map_lookup(&scratch, &zero);
	if (!scratch_ || size < 1 || size > LONGEST)
		return DROP;
	u64 less = size - 1;
	asm volatile("%0 &= %1" : "+r"(less) : "i"(MASK));
	if (load(packet, at->payload + GENEVE, scratch_->octets, less + 1))
		return DROP;
	count_word(packet, at, head[0], 0);
	count_word(packet, at, head[1], 0);
	store(packet, at->payload, none, GENEVE, 0);
	if (store(packet, at->payload, scratch_->octets, less + 1, RECOMPUTE))
		return DROP;
	if (change_tail(packet, packet->length - GENEVE, 0))
		return DROP;
	set_length(packet, at, length, -GENEVE);
	return PASS;
}

INLINE int arrive(struct packet *packet, struct layout at)
{
	reach(packet, at.payload + GENEVE);
	u8 *data = DATA(packet);
	if (data + at.payload + GENEVE > DATA_END(packet))
		return NEXT;
	u8 *geneve = data + at.payload;
	u32 kind = geneve_kind(geneve);
	if (geneve[0] || (kind != WIREGUARD_KIND && kind != DISCO_KIND))
		return NEXT;
	u32 head[2] = { *(u32 *)geneve, *(u32 *)(geneve + 4) };
	struct udp udp = *(struct udp *)(data + at.udp);
	struct place from = { .port = udp.from, .vni = head[1] };
	if (at.is_v6)
		from.relay = *(struct address *)(data + at.ip + 8);
	else
		from.relay = mapped(*(u32 *)(data + at.ip + 12));
	struct senders *found = map_lookup(&senders, &from);
	if (!found || is_batch(packet)) /* a socket gets the parts of a batch: the path service */
		return NEXT;
	struct senders now = *found;
	if (at.payload + be16(udp.length) - 8 > packet->length || be16(udp.length) <= 8 + GENEVE)
		return NEXT;
	if (kind == DISCO_KIND) {
		set_end(packet, &at, 0, &from.relay, &now.stand_in, udp.from, be16(STAND_IN_PORT));
		return NEXT;
	}
	int done = at.is_v6 ? pop_v6(packet, &at, head, udp.length) : pop_v4(packet, &at, &udp);
	if (done != PASS)
		return DROP;
	set_end(packet, &at, 0, &from.relay, &now.address, udp.from, now.port);
	return NEXT;
}

/* --- the programs ---------------------------------------------------------------------------- */

INLINE int is_udp_v4(struct packet *packet, u32 link)
{
	struct ipv4 *ip = (void *)(DATA(packet) + link);
	return (void *)(ip + 1) <= (void *)DATA_END(packet) && ip->version_and_length == 0x45 &&
	       ip->protocol == UDP && !(ip->fragment & be16(0x3fff));
}

INLINE int is_udp_v6(struct packet *packet, u32 link)
{
	struct ipv6 *ip = (void *)(DATA(packet) + link);
	return (void *)(ip + 1) <= (void *)DATA_END(packet) && ip->next == UDP;
}

#define EITHER(way, link)                                                                 \
	if (packet->protocol == be16(IPV4) && is_udp_v4(packet, link))                    \
		return way(packet, layout(link, 0));                                      \
	if (packet->protocol == be16(IPV6) && is_udp_v6(packet, link))                    \
		return way(packet, layout(link, 1));                                      \
	return NEXT

PROGRAM(wrap)
{
	EITHER(leave, ETHERNET);
}

PROGRAM(unwrap)
{
	EITHER(arrive, ETHERNET);
}

/* For devices whose packets begin with the IP header: PPP, modems. */
PROGRAM(wrap_bare)
{
	EITHER(leave, 0);
}

PROGRAM(unwrap_bare)
{
	EITHER(arrive, 0);
}

LICENSE;
