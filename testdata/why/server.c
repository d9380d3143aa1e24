// A server whose acceptor does something that takes long with its first client, and measures that itself: which functions
// it is in is known from this source. server MODE [ARGUMENT...]. It prints where it listens, and then of each thing that
// took long: "busy FROM TO CPU", by CLOCK_BOOTTIME and the thread's own CPU clock, in nanoseconds.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define apart __attribute__((noinline, noclone))
// The compiler must not make a call the last thing of a function: its frame would be gone.
#define stay __asm__ volatile("" : : : "memory")

static const char *mode, *argument;
static int listener, clients, set = -1, disk = -1;
static pthread_mutex_t store = PTHREAD_MUTEX_INITIALIZER, pool = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t free_worker = PTHREAD_COND_INITIALIZER, work = PTHREAD_COND_INITIALIZER;

static long long ns(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void nap(long ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000};
	nanosleep(&t, 0);
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

// A connection to the backend, which answers when the test lets it.
static int backend(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(atoi(argument))};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(fd, (void *)&a, sizeof a))
		die("connect to the backend");
	return fd;
}

apart static void journal_append(void)
{
	static char b[4096] __attribute__((aligned(4096)));
	if (pwrite(disk, b, sizeof b, 0) < 0 || fsync(disk))
		die(argument);
	stay;
}

apart static void access_log(void)
{
	char b[8192];
	memset(b, 'x', sizeof b);
	if (write(3, b, sizeof b) < 0)
		die("log");
	stay;
}

apart static unsigned hash_password(long long cpu)
{
	unsigned h = 1;
	for (long long from = ns(CLOCK_THREAD_CPUTIME_ID); ns(CLOCK_THREAD_CPUTIME_ID) - from < cpu;)
		for (int i = 0; i < 100000; i++)
			h = h * 1664525u + i;
	return h;
}

apart static int touch_cache(void)
{
	volatile char *p = mmap(0, 1 << 20, PROT_READ, MAP_SHARED, disk, 0);
	if (p == MAP_FAILED)
		die(argument);
	madvise((void *)p, 1 << 20, MADV_RANDOM);
	return p[1 << 19];
}

apart static void query(void)
{
	char b[1];
	int fd = backend();
	if (write(fd, "SELECT 1", 8) < 0 || read(fd, b, 1) < 0)
		die("query");
	close(fd);
	stay;
}

static void *holder(void *held)
{
	prctl(PR_SET_NAME, "compactor");
	pthread_mutex_lock(&store);
	*(volatile int *)held = 1;
	nap(2500);
	pthread_mutex_unlock(&store);
	return 0;
}

apart static void admit(void)
{
	static volatile int held;
	pthread_t t;
	pthread_create(&t, 0, holder, (void *)&held);
	while (!held)
		nap(1);
	pthread_mutex_lock(&store);
	pthread_mutex_unlock(&store);
	stay;
}

// Waits for other descriptors than the listener.
apart static void event_loop(void)
{
	struct epoll_event e;
	for (long long until = ns(CLOCK_BOOTTIME) + 2500000000LL, left; (left = until - ns(CLOCK_BOOTTIME)) > 0;)
		epoll_wait(set, &e, 1, left / 1000000 + 1);
}

apart static void handle(void)
{
	if (!strcmp(mode, "fsync"))
		journal_append();
	else if (!strcmp(mode, "pipe"))
		access_log();
	else if (!strcmp(mode, "cpu"))
		hash_password(2500000000LL);
	else if (!strcmp(mode, "quota"))
		hash_password(400000000LL);
	else if (!strcmp(mode, "page"))
		touch_cache();
	else if (!strcmp(mode, "backend") || !strcmp(mode, "prefork"))
		query();
	else if (!strcmp(mode, "mutex"))
		admit();
	else if (!strcmp(mode, "60ms"))
		nap(60);
	else if (!strcmp(mode, "absent") || !strcmp(mode, "oneshot"))
		event_loop();
	stay;
}

static int in_pool, waiting[64]; // clients of the pool

static void *worker(void *x)
{
	prctl(PR_SET_NAME, "worker");
	for (;;) {
		pthread_mutex_lock(&pool);
		while (clients == 0)
			pthread_cond_wait(&work, &pool);
		int c = waiting[--clients];
		pthread_mutex_unlock(&pool);
		query();
		close(c);
		pthread_mutex_lock(&pool);
		in_pool--;
		pthread_cond_signal(&free_worker);
		pthread_mutex_unlock(&pool);
	}
	return x;
}

// Waits until a worker has nothing to do.
apart static void submit(int c)
{
	pthread_mutex_lock(&pool);
	waiting[clients++] = c;
	in_pool++;
	pthread_cond_signal(&work);
	long long from = ns(CLOCK_BOOTTIME);
	while (in_pool >= 2)
		pthread_cond_wait(&free_worker, &pool);
	pthread_mutex_unlock(&pool);
	if (ns(CLOCK_BOOTTIME) - from > 300000000LL) {
		printf("busy %lld %lld 0\n", from, ns(CLOCK_BOOTTIME));
		fflush(stdout);
	}
}

static void serve(void)
{
	for (int n = 0;; n++) {
		int c = accept4(listener, 0, 0, SOCK_CLOEXEC);
		if (c < 0)
			die("accept");
		if (!strcmp(mode, "pool")) {
			submit(c);
			c = -1;
		} else if (n == 0 || !strcmp(mode, "60ms") || !strcmp(mode, "prefork")) {
			long long from = ns(CLOCK_BOOTTIME), cpu = ns(CLOCK_THREAD_CPUTIME_ID);
			printf("began\n");
			fflush(stdout);
			if (!strcmp(mode, "absent") || !strcmp(mode, "oneshot")) { // it holds no client meanwhile
				close(c);
				c = -1;
			}
			handle();
			printf("busy %lld %lld %lld\n", from, ns(CLOCK_BOOTTIME), ns(CLOCK_THREAD_CPUTIME_ID) - cpu);
			fflush(stdout);
		}
		if (c >= 0)
			close(c);
		if (!strcmp(mode, "ended"))
			return;
	}
}

static void *acceptor(void *x)
{
	prctl(PR_SET_NAME, "acceptor");
	serve(); // which ends: a bug
	printf("ended %lld\n", ns(CLOCK_BOOTTIME));
	fflush(stdout);
	return x;
}

int main(int n, char **v)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof a;
	struct stat st;
	mode = n > 1 ? v[1] : "";
	argument = n > 2 ? v[2] : "";
	if ((!strcmp(mode, "fsync") || !strcmp(mode, "page")) && (disk = open(argument, O_RDWR | O_CLOEXEC)) < 0)
		die(argument);
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(listener, (void *)&a, sizeof a) || listen(listener, 64) || getsockname(listener, (void *)&a, &size) || fstat(listener, &st))
		die("listen");
	struct epoll_event e = {.events = EPOLLIN | EPOLLONESHOT};
	set = epoll_create1(EPOLL_CLOEXEC);
	if (!strcmp(mode, "oneshot")) // and it is not armed again
		epoll_ctl(set, EPOLL_CTL_ADD, listener, &e);
	printf("listens %d %llu %d\n", ntohs(a.sin_port), (unsigned long long)st.st_ino, getpid());
	fflush(stdout);
	if (!strcmp(mode, "prefork")) {
		for (int i = 0; i < 3; i++)
			if (fork() == 0) {
				prctl(PR_SET_NAME, "prefork-worker");
				prctl(PR_SET_PDEATHSIG, 9);
				serve();
			}
		while (wait(0) > 0)
			;
	}
	pthread_t t;
	if (!strcmp(mode, "ended")) {
		pthread_create(&t, 0, acceptor, 0);
		for (;;)
			pause();
	}
	if (!strcmp(mode, "pool"))
		for (int i = 0; i < 2; i++)
			pthread_create(&t, 0, worker, 0);
	if (!strcmp(mode, "oneshot"))
		epoll_wait(set, &e, 1, -1);
	serve();
}
