/* The load of the DERP benchmark: clients that send and receive as fast as one core can.
 *
 *   derp_generator PORT CLIENTS MODE BURST MEGABITS SECONDS SERVER_PID OPENINGS
 *
 * MODE is "pairs" (the first half sends, number n to number n + CLIENTS/2) or
 * "mesh" (everybody sends, every packet to another client). BURST packets go
 * into one TLS write. MEGABITS is what all senders together offer in a second,
 * 0 without end. OPENINGS is a file with, for every client, 32 bytes of public
 * key, 4 bytes of length (big-endian) and what it says first: the request with
 * fast start and the greeting, which nothing from the server goes into.
 *
 * Every packet carries when it was sent, by whom, and its number; the receiver
 * checks sender and length, and in pairs the order. When SECONDS are over
 * nothing new is sent and reading goes on until it is quiet, so that what was
 * sent and what arrived can be compared with what the server says it dropped.
 * One line of JSON is the result. Compiled by bench_derp.py with gcc.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    KEY = 32, HEADER = 5 + KEY, PAYLOAD = 1400, FRAME = HEADER + PAYLOAD,
    STAMP = 16,                 /* bytes: nanoseconds, sender << 40 | number */
    READ_SIZE = 1 << 18, BUCKET = 10000, BUCKETS = 500000, /* of 10 us: 5 s */
    SEND_PACKET = 4, RECEIVE_PACKET = 5, SERVER_INFO = 3,
};
#define SECOND 1000000000ull
#define WARM_UP (SECOND / 2)
#define QUIET (SECOND / 2)
#define LONGEST_DRAIN (10 * SECOND)

struct client {
    SSL *tls;
    int handle, is_sender, destination;
    uint8_t key[KEY];
    uint8_t *out; int out_length, out_sent;
    uint8_t *in; int in_length;
    uint64_t sent, expected;
};

struct totals { uint64_t sent, received, wrong, disordered, withheld; };

static struct client *clients;
static int count, burst, is_mesh, server;
static double rate; /* bytes of payload per second */
static uint32_t histogram[BUCKETS];
static struct totals total;

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

static void fail(const char *what) {
    fprintf(stderr, "derp_generator: %s: %s\n", what, strerror(errno));
    ERR_print_errors_fp(stderr);
    exit(1);
}

static double server_seconds(void) {
    char path[64], text[1024];
    unsigned long user, system;
    snprintf(path, sizeof path, "/proc/%d/stat", server);
    FILE *file = fopen(path, "r");
    if (!file) fail(path);
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    sscanf(strrchr(text, ')') + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
           &user, &system);
    return (user + system) / (double)sysconf(_SC_CLK_TCK);
}

static double own_seconds(void) {
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return use.ru_utime.tv_sec + use.ru_stime.tv_sec
        + (use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

static uint32_t big_endian(const uint8_t *bytes) {
    uint32_t value;
    memcpy(&value, bytes, 4);
    return ntohl(value);
}

static void read_exactly(SSL *tls, uint8_t *to, int length) {
    for (int got = 0; got < length;) {
        int n = SSL_read(tls, to + got, length - got);
        if (n <= 0) fail("the server ended the greeting");
        got += n;
    }
}

/* Send the opening and read frames until the server has accepted us. */
static void greet(struct client *client, FILE *openings) {
    static uint8_t text[1 << 16];
    uint8_t length[4], head[5];
    if (fread(client->key, 1, KEY, openings) != KEY || fread(length, 1, 4, openings) != 4)
        fail("openings");
    uint32_t size = big_endian(length);
    if (size > sizeof text || fread(text, 1, size, openings) != size) fail("openings");
    if (SSL_write(client->tls, text, size) != (int)size) fail("greeting");
    do {
        read_exactly(client->tls, head, 5);
        uint32_t body = big_endian(head + 1);
        if (body > sizeof text) fail("not a DERP frame");
        read_exactly(client->tls, text, body);
    } while (head[0] != SERVER_INFO);
}

static void fill(struct client *client) {
    client->in = malloc(READ_SIZE);
    client->out = malloc(burst * FRAME);
    if (!client->in || !client->out) fail("memory");
    for (int i = 0; i < burst * FRAME; i++) client->out[i] = (uint8_t)(i * 31);
    for (int i = 0; i < burst; i++) {
        uint8_t *frame = client->out + i * FRAME;
        uint32_t length = htonl(KEY + PAYLOAD);
        frame[0] = SEND_PACKET;
        memcpy(frame + 1, &length, 4);
    }
}

static void join(struct client *client, SSL_CTX *context, int port, FILE *openings) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int one = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    client->handle = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(client->handle, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(client->handle, (void *)&address, sizeof address)) fail("connect");
    client->tls = SSL_new(context);
    SSL_set_fd(client->tls, client->handle);
    if (SSL_connect(client->tls) != 1) fail("TLS");
    greet(client, openings);
    fcntl(client->handle, F_SETFL, O_NONBLOCK);
    fill(client);
}

static int random_other(int self) {
    static uint64_t state = 88172645463325252ull;
    for (;;) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        int other = state % count;
        if (other != self) return other;
    }
}

/* Put the next burst into the buffer of a sender. */
static void load(struct client *client) {
    uint64_t at = now(), self = client - clients;
    for (int i = 0; i < burst; i++) {
        uint8_t *frame = client->out + i * FRAME;
        uint64_t number = self << 40 | client->sent++;
        if (is_mesh) client->destination = random_other(self);
        memcpy(frame + 5, clients[client->destination].key, KEY);
        memcpy(frame + HEADER, &at, 8);
        memcpy(frame + HEADER + 8, &number, 8);
    }
    client->out_length = burst * FRAME;
    client->out_sent = 0;
    total.sent += burst;
}

static int push(struct client *client) {
    int done = 0;
    while (client->out_sent < client->out_length) {
        int n = SSL_write(client->tls, client->out + client->out_sent,
                          client->out_length - client->out_sent);
        if (n <= 0) break;
        client->out_sent += n;
        done = 1;
    }
    return done;
}

/* Let every sender send what it may; return whether anything went out. */
static int send_all(int is_open, double *offered, uint64_t since) {
    static int first;
    int done = 0;
    double step = (double)burst * PAYLOAD;
    for (int i = 0; i < count; i++) {
        struct client *client = &clients[(first + i) % count];
        if (!client->is_sender) continue;
        if (client->out_sent == client->out_length) {
            if (!is_open) continue;
            if (rate > 0) {
                double due = rate * (now() - since) / SECOND, excess = due - *offered - rate / 20;
                if (excess > step) { /* over 50 ms behind: the server does not take it */
                    total.withheld += excess / PAYLOAD;
                    *offered += excess;
                }
                if (*offered + step > due) continue;
                *offered += step;
            }
            load(client);
        }
        done |= push(client);
    }
    first = (first + 1) % count;
    return done;
}

static void check(struct client *client, const uint8_t *frame, uint64_t at) {
    uint64_t sent_at, number;
    memcpy(&sent_at, frame + HEADER, 8);
    memcpy(&number, frame + HEADER + 8, 8);
    uint64_t sender = number >> 40, place = number & ((1ull << 40) - 1);
    if (sender >= (uint64_t)count || memcmp(frame + 5, clients[sender].key, KEY)) {
        total.wrong++;
        return;
    }
    if (!is_mesh) {
        total.disordered += place < client->expected;
        client->expected = place + 1;
    }
    total.received++;
    uint64_t bucket = (at - sent_at) / BUCKET;
    histogram[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
}

/* Take the whole frames at the front of what a client has read. */
static void take(struct client *client) {
    uint64_t at = now();
    int offset = 0;
    while (client->in_length - offset >= 5) {
        const uint8_t *frame = client->in + offset;
        int length = 5 + (int)big_endian(frame + 1);
        if (client->in_length - offset < length) break;
        if (frame[0] == RECEIVE_PACKET && length == FRAME) check(client, frame, at);
        else if (frame[0] == RECEIVE_PACKET) total.wrong++;
        offset += length;
    }
    memmove(client->in, client->in + offset, client->in_length - offset);
    client->in_length -= offset;
}

/* Read all there is: OpenSSL reads ahead, and what it holds wakes nobody. */
static void pull(struct client *client) {
    for (;;) {
        int n = SSL_read(client->tls, client->in + client->in_length, READ_SIZE - client->in_length);
        if (n <= 0) {
            if (SSL_get_error(client->tls, n) != SSL_ERROR_WANT_READ) fail("the server left");
            break;
        }
        client->in_length += n;
        if (client->in_length > READ_SIZE - (1 << 15)) take(client);
    }
    take(client);
}

static double percentile(uint64_t of, double share) {
    uint64_t seen = 0;
    for (int i = 0; i < BUCKETS; i++) {
        seen += histogram[i];
        if (seen >= of * share) return (i + 0.5) * BUCKET / 1e6;
    }
    return 0;
}

static void run(int poll, double seconds) {
    struct epoll_event events[256];
    uint64_t began = now(), measured = 0, last = began, until = 0, ended = 0;
    struct totals before = {0}, after = {0};
    double offered = 0, server_before = 0, server_used = 0, own_before = 0, own_used = 0;
    for (;;) {
        uint64_t at = now();
        if (!measured && at - began >= WARM_UP) {
            measured = at, until = at + (uint64_t)(seconds * SECOND), before = total;
            server_before = server_seconds(), own_before = own_seconds();
            memset(histogram, 0, sizeof histogram);
        }
        if (measured && !ended && at >= until) {
            ended = at, after = total;
            server_used = server_seconds() - server_before, own_used = own_seconds() - own_before;
            last = at;
        }
        if (ended && (at - last > QUIET || at - ended > LONGEST_DRAIN)) break;
        int is_busy = send_all(!ended, &offered, began);
        int n = epoll_wait(poll, events, 256, is_busy || (rate > 0 && !ended) ? 0 : 1);
        uint64_t had = total.received;
        for (int i = 0; i < n; i++) pull(&clients[events[i].data.u32]);
        if (total.received != had) last = now();
    }
    double time = (ended - measured) / 1e9;
    uint64_t got = after.received - before.received, timed = total.received - before.received;
    printf("{\"seconds\":%.4f,\"gigabits\":%.4f,\"server_cpu\":%.3f,\"own_cpu\":%.3f,\"p50\":%.3f,"
           "\"p99\":%.3f,\"sent\":%lu,\"received\":%lu,\"wrong\":%lu,\"disordered\":%lu,"
           "\"withheld\":%lu}\n",
           time, got * PAYLOAD * 8 / 1e9, server_used, own_used, percentile(timed, 0.5),
           percentile(timed, 0.99), total.sent, total.received, total.wrong, total.disordered,
           total.withheld);
}

int main(int argument_count, char **arguments) {
    if (argument_count != 9) return fputs("see the head of derp_generator.c\n", stderr), 2;
    int port = atoi(arguments[1]);
    count = atoi(arguments[2]), is_mesh = !strcmp(arguments[3], "mesh");
    burst = atoi(arguments[4]), rate = atof(arguments[5]) * 1e6 / 8;
    double seconds = atof(arguments[6]);
    server = atoi(arguments[7]);
    FILE *openings = fopen(arguments[8], "rb");
    if (!openings) fail(arguments[8]);
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256"); /* what official clients choose */
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, 1 << 17);
    int poll = epoll_create1(0);
    clients = calloc(count, sizeof *clients);
    for (int i = 0; i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        clients[i].is_sender = is_mesh || i < count / 2;
        clients[i].destination = is_mesh ? 0 : (i + count / 2) % count;
        join(&clients[i], context, port, openings);
        epoll_ctl(poll, EPOLL_CTL_ADD, clients[i].handle, &event);
    }
    run(poll, seconds);
    return 0;
}
