/* Forwards the packets of a peer relay's sessions; everything else passes untouched.
 *
 *     client A --UDP--> our port, VNI v   ==>   our port --UDP--> client B, VNI v
 *
 * A packet is one of a session when its source, its destination, its port and its
 * VNI are an entry of `sessions4` or `sessions6`: both clients have proved at that very
 * address that they are the session's. Only addresses and ports change. What has
 * no entry, handshakes (control bit), fragments, packets longer than the way out takes and
 * batches (GRO, GSO) that mix sessions go on to the socket, which knows what to do.
 *
 *     offset in the UDP payload, RFC 8926: 0 version, options | 1 flags | 2 type | 4 VNI, 24 bits
 */
#include "kernel.h"

enum { GENEVE = 8, ETHERNET = 14, MOST_SEGMENTS = 128 };
enum { MIXED, TOO_LONG, REASONS }; /* why a packet of a session was left to the socket */

struct settings {
	u16 port; /* network order */
	u16 unused;
	u32 mark; /* of packets that must not enter the tunnel */
};
/* Addresses, ports and VNI in network order; `vni` is the header's second word. */
struct key4 {
	u32 from, to, vni;
	u16 port, unused;
};
struct key6 {
	u32 from[4], to[4], vni;
	u16 port, unused;
};
struct way4 {
	u32 from, to, device;
	u16 port, largest; /* `largest`: bytes of an IP packet */
	u64 packets, bytes; /* of UDP payload */
};
struct way6 {
	u32 from[4], to[4], device;
	u16 port, largest;
	u64 packets, bytes;
};
MAP(settings, MAP_ARRAY, u32, struct settings, 1, 0);
MAP(left, MAP_ARRAY, u32, u64, REASONS, 0);
MAP(sessions4, MAP_HASH, struct key4, struct way4, 65536, NO_PREALLOC);
MAP(sessions6, MAP_HASH, struct key6, struct way6, 65536, NO_PREALLOC);

INLINE int leave(u32 reason)
{
	u64 *count = map_lookup(&left, &reason);

	if (count)
		__sync_fetch_and_add(count, 1);
	return NEXT;
}

/* Makes the headers readable directly, if there are any. The caller looks where the packet begins
 * and ends: an address that may be nothing cannot be compared with nothing without CAP_PERFMON. */
INLINE void gather(struct packet *packet, u32 headers)
{
	if (DATA(packet) + headers > DATA_END(packet))
		pull(packet, headers);
}

/* Reads the 8 bytes of a data packet's Geneve header: not of another version, without
 * options and without the control bit. A batch has its payload elsewhere; to fetch it would
 * cost more than to read it there. */
INLINE int read_geneve(struct packet *packet, u8 *data, u32 payload, u64 *header)
{
	if (data + payload + GENEVE <= DATA_END(packet))
		__builtin_memcpy(header, data + payload, GENEVE);
	else if (load(packet, payload, header, GENEVE))
		return 0;
	return !(*header & be16(0xffff));
}

INLINE u32 vni_of(u64 header)
{
	return (u32)(header >> 32) & be32(0xffffff00);
}

/* A batch is matched by its first packet, so the rest must have the same Geneve header.
 * Returns the number of packets, 0 when they differ. */
INLINE u32 count_packets(struct packet *packet, u32 payload, u64 header)
{
	u32 size = packet->segment_size, length = packet->length, offset = payload + size;
	u32 count = 1;
	u64 other;

	if (!size)
		return 1;
	if (size < GENEVE)
		return 0;
#pragma clang loop unroll(disable)
	for (; count < MOST_SEGMENTS; count++, offset += size) {
		if (offset + GENEVE > length)
			return offset < length ? 0 : count;
		if (load(packet, offset, &other, sizeof(other)) || other != header)
			return 0;
	}
	return 0;
}

INLINE int is_too_long(struct packet *packet, u32 headers, u32 link, u32 largest)
{
	u32 length = packet->segment_size ? headers + packet->segment_size - link :
					    packet->length - link;
	return length > largest;
}

/* Let the kernel find the next hop. It wants an Ethernet header, which a device without one
 * (PPP) has not given. */
INLINE int send(struct packet *packet, u32 link, u32 device, u16 type)
{
	struct ethernet header = { .type = be16(type) };

	if (!link) {
		if (change_head(packet, ETHERNET, 0) || store(packet, 0, &header, ETHERNET, 0))
			return DROP;
	}
	return redirect_neighbour(device, 0, 0, 0);
}

INLINE u32 fold(u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	return (sum & 0xffffffff) + (sum >> 32);
}

INLINE u16 fold16(u64 sum)
{
	u32 half = fold(sum);

	half = (half & 0xffff) + (half >> 16);
	return (half & 0xffff) + (half >> 16);
}

INLINE int relay4(struct packet *packet, u32 link)
{
	enum { HEADERS = sizeof(struct ipv4) + sizeof(struct udp) };
	u32 payload = link + HEADERS, zero = 0, count;
	u64 header;

	if (packet->length < payload + GENEVE)
		return NEXT;
	gather(packet, payload);
	u8 *data = DATA(packet);

	if (data + payload > DATA_END(packet))
		return NEXT;
	struct ipv4 *ip = (void *)(data + link);
	struct udp *udp = (void *)(ip + 1);
	struct settings *set = map_lookup(&settings, &zero);

	if (ip->protocol != UDP || !set || udp->to != set->port || ip->version_and_length != 0x45 ||
	    ip->fragment & be16(0x3fff) || ip->hops < 2)
		return NEXT;
	if (!read_geneve(packet, data, payload, &header))
		return NEXT;
	struct key4 key = { ip->from, ip->to, vni_of(header), udp->from, 0 };
	struct way4 *way = map_lookup(&sessions4, &key);

	if (!way)
		return NEXT;
	if (is_too_long(packet, payload, link, way->largest))
		return leave(TOO_LONG);
	count = count_packets(packet, payload, header);
	if (!count)
		return leave(MIXED);
	__sync_fetch_and_add(&way->packets, count);
	__sync_fetch_and_add(&way->bytes, packet->length - payload);

	/* RFC 1624: what is taken out of the sums, inverted, and what is put in. */
	u64 addresses = (u64)(u32)~key.from + (u32)~key.to + way->from + way->to;
	u32 old_ports = (u32)udp->from | (u32)udp->to << 16;
	u32 new_ports = (u32)udp->to | (u32)way->port << 16;
	u16 old_hops = ip->hops | ip->protocol << 8, new_hops = old_hops - 1;
	u16 checksum = udp->checksum;
	u32 device = way->device;

	ip->checksum = ~fold16((u64)(u16)~ip->checksum + addresses + (u16)~old_hops + new_hops);
	ip->hops--;
	ip->from = way->from;
	ip->to = way->to;
	*(u32 *)udp = new_ports;
	packet->mark = set->mark;
	if (checksum) {
		u32 at = link + sizeof(*ip) + __builtin_offsetof(struct udp, checksum);

		checksum_l4(packet, at, 0, fold(addresses), PSEUDO_HEADER | KEEP_NO_CHECKSUM);
		checksum_l4(packet, at, old_ports, new_ports, 4 | KEEP_NO_CHECKSUM);
	}
	return send(packet, link, device, IPV4);
}

INLINE int relay6(struct packet *packet, u32 link)
{
	enum { HEADERS = sizeof(struct ipv6) + sizeof(struct udp) };
	u32 payload = link + HEADERS, zero = 0, count;
	u64 header;

	if (packet->length < payload + GENEVE)
		return NEXT;
	gather(packet, payload);
	u8 *data = DATA(packet);

	if (data + payload > DATA_END(packet))
		return NEXT;
	struct ipv6 *ip = (void *)(data + link);
	struct udp *udp = (void *)(ip + 1);
	struct settings *set = map_lookup(&settings, &zero);

	if (ip->next != UDP || !set || udp->to != set->port || ip->hops < 2)
		return NEXT;
	if (!read_geneve(packet, data, payload, &header))
		return NEXT;
	struct key6 key = { .vni = vni_of(header), .port = udp->from };

	__builtin_memcpy(key.from, ip->from, 32);
	struct way6 *way = map_lookup(&sessions6, &key);

	if (!way)
		return NEXT;
	if (is_too_long(packet, payload, link, way->largest))
		return leave(TOO_LONG);
	count = count_packets(packet, payload, header);
	if (!count)
		return leave(MIXED);
	__sync_fetch_and_add(&way->packets, count);
	__sync_fetch_and_add(&way->bytes, packet->length - payload);

	u64 addresses = 0;
#pragma unroll
	for (int i = 0; i < 4; i++)
		addresses += (u64)(u32)~key.from[i] + (u32)~key.to[i] + way->from[i] + way->to[i];
	u32 old_ports = (u32)udp->from | (u32)udp->to << 16;
	u32 new_ports = (u32)udp->to | (u32)way->port << 16;
	u16 checksum = udp->checksum;
	u32 device = way->device;

	ip->hops--;
	__builtin_memcpy(ip->from, way->from, 32);
	*(u32 *)udp = new_ports;
	packet->mark = set->mark;
	if (checksum) {
		u32 at = link + sizeof(*ip) + __builtin_offsetof(struct udp, checksum);

		checksum_l4(packet, at, 0, fold(addresses), PSEUDO_HEADER | KEEP_NO_CHECKSUM);
		checksum_l4(packet, at, old_ports, new_ports, 4 | KEEP_NO_CHECKSUM);
	}
	return send(packet, link, device, IPV6);
}

INLINE int relay(struct packet *packet, u32 link)
{
	if (packet->vlan_present) /* it comes again, on the device of its VLAN */
		return NEXT;
	if (packet->protocol == be16(IPV4))
		return relay4(packet, link);
	if (packet->protocol == be16(IPV6))
		return relay6(packet, link);
	return NEXT;
}

PROGRAM(ethernet)
{
	return relay(packet, ETHERNET);
}

PROGRAM(bare) /* a device whose packets begin with the IP header */
{
	return relay(packet, 0);
}

LICENSE;
