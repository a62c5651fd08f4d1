/* Would these registrations work? Build it, after `cargo build -p gup-preflight-c`:
 *
 *   cc -Icrates/preflight-c/include crates/preflight-c/examples/preflight.c \
 *      target/debug/libgup_preflight.a -lpthread -ldl -lm -o preflight
 */
#include <gup_preflight.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* The layout that the library was built with. */
typedef char layout[sizeof(struct gup_preflight) == 560 ? 1 : -1];

static int check(const char *what, const void *addr, size_t len, const char *consumer)
{
	struct gup_preflight answer;
	int status = gup_preflight(addr, len, consumer, &answer);

	if (status == 0)
		printf("%s: would work on %llu pages\n", what, (unsigned long long)answer.pages);
	else if (status == 1)
		printf("%s: %s (%s)\n  instead: %s\n", what, strerror(answer.error), answer.why,
		       answer.instead);
	else
		printf("%s: could not look: %s\n", what, answer.why);
	return status;
}

int main(void)
{
	size_t len = 64 * 1024;
	char *buffer = malloc(len);
	char *constant = mmap(NULL, len, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int good, bad, none;

	if (!buffer || constant == MAP_FAILED)
		return 2;
	good = check("a buffer of malloc", buffer, len, "o-direct-read");
	bad = check("read-only memory", constant, len, "o-direct-read");
	none = check("no such consumer", buffer, len, "nobody");
	return good == 0 && bad == 1 && none == -1 ? 0 : 1;
}
