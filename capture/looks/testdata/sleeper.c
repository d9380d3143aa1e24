// A program that sleeps in a function of a function: where, is known from this source.
#include <stdio.h>
#include <string.h>
#include <unistd.h>

__attribute__((noinline)) static void access_log(int fd) {
	char b[8192];
	memset(b, 'x', sizeof b);
	if (read(fd, b, sizeof b) < 0) perror("read");
	__asm__ volatile("" : : "r"(b) : "memory");
}

__attribute__((noinline)) void handle(int fd) {
	access_log(fd);
	__asm__ volatile("");
}

int main(void) {
	for (;;) handle(0);
}
