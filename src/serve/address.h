/* Addresses of clients: who counts as one client, whom a proxy speaks for. */
#ifndef FC_SERVE_ADDRESS_H
#define FC_SERVE_ADDRESS_H

#include "base/str.h"

struct sockaddr;

/* IPv6; IPv4 as ::ffff:a.b.c.d.  All zeros: not known. */
typedef struct address { unsigned char b[16]; } address;
/* Those that begin with the same bits. */
typedef struct address_range { address base; int bits; } address_range;

/* Zeros for other families. */
address address_from(const struct sockaddr *sa);
/* "192.0.2.1", "2001:db8::1", and as a field of a proxy has it, "192.0.2.1:80", "[2001:db8::1]", "[2001:db8::1]:80".  False: none. */
bool    address_parse(str text, address *out);
/* "10.0.0.0/8", "fd00::/8", or one address. */
bool    address_parse_range(str text, address_range *out);
bool    address_is_in(const address *a, const address_range *r);
bool    address_is_loopback(const address *a);
/* What counts as one client: an IPv4 address, and of IPv6 the 64 bits that a network gives to one subscriber, the rest zeros. */
address address_client(const address *a);
bool    address_same(const address *a, const address *b);
/* Without brackets.  cap: 46 at least. */
void    address_print(const address *a, char *out, size_t cap);

#endif
