/* Makes orphans: forks a child that forks a child and leaves it, COUNT times. Says its pid into the FIFO $BENCH_FIFO before
 * the first and after the last, waits for a byte of the FIFO $BENCH_GO in between, and then waits to be ended. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    int out = open(getenv("BENCH_FIFO"), O_WRONLY | O_CLOEXEC), go = open(getenv("BENCH_GO"), O_RDONLY | O_CLOEXEC);
    pid_t pid = getpid();
    char byte;
    if (write(out, &pid, sizeof pid) != sizeof pid || read(go, &byte, 1) != 1)
        return 1;
    for (int left = atoi(argv[1]); left > 0; left--) {
        pid_t child = fork();
        if (child == 0) {
            if (fork() < 0)
                _exit(1);
            _exit(0);
        }
        int status;
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
            return 1;
    }
    if (write(out, &pid, sizeof pid) != sizeof pid)
        return 1;
    for (;;)
        pause();
}
