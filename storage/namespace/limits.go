//go:build cgo

package namespace

// Where the address space or the number of threads is limited to less than Go's
// runtime takes, it ends with its own stacks, before a line of this program runs.
// So both are looked at before that: this is called before the runtime begins.
// Threads are tried, as those of all the user's processes count.

// #include <pthread.h>
// #include <stdio.h>
// #include <sys/resource.h>
// #include <unistd.h>
//
// enum { threads = 24, few = 4096, failed = 125 };
// static const rlim_t space = 2000000000;
//
// static void *wait_for(void *start) {
// 	pthread_mutex_lock(start);
// 	pthread_mutex_unlock(start);
// 	return NULL;
// }
//
// static int can_start(int n) {
// 	pthread_t started[threads];
// 	pthread_mutex_t start = PTHREAD_MUTEX_INITIALIZER;
// 	pthread_mutex_lock(&start);
// 	int i = 0;
// 	while (i < n && pthread_create(&started[i], NULL, wait_for, &start) == 0)
// 		i++;
// 	pthread_mutex_unlock(&start);
// 	for (int j = 0; j < i; j++)
// 		pthread_join(started[j], NULL);
// 	return i == n;
// }
//
// static void __attribute__((constructor)) look_at_limits(void) {
// 	struct rlimit l;
// 	if (getrlimit(RLIMIT_AS, &l) == 0 && l.rlim_cur < space) {
// 		dprintf(2, "kbuild: the address space of a process is limited to %llu MB, %llu MB are needed (ulimit -v)\n",
// 			(unsigned long long)l.rlim_cur / 1000000, (unsigned long long)space / 1000000);
// 		_exit(failed);
// 	}
// 	if (getrlimit(RLIMIT_NPROC, &l) == 0 && l.rlim_cur < few && !can_start(threads)) {
// 		dprintf(2, "kbuild: no more threads can be started: %llu are allowed to all of your processes (ulimit -u)\n",
// 			(unsigned long long)l.rlim_cur);
// 		_exit(failed);
// 	}
// }
import "C"
