// A program that spends its time in one function, below another: which, is known from this source.
#include <stdlib.h>

__attribute__((noinline)) static unsigned hash_password(const char *rounds) {
	unsigned h = 1;
	for (int i = 0; i < 1000; i++) h = h * 1664525u + atoi(rounds);
	return h;
}

__attribute__((noinline)) static unsigned handle(const char *rounds) {
	unsigned h = 0;
	for (int i = 0; i < 1000; i++) h += hash_password(rounds);
	return h;
}

int main(int n, char **v) {
	volatile unsigned sum = 0;
	for (;;) sum += handle(n > 1 ? v[1] : "123456");
}
