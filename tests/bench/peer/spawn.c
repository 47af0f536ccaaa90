/* The least a supervisor can do: a pipe and a process for each of COUNT services; with `respawn`, again when one ends.
 * `spawn COUNT once|respawn PROGRAM`. SIGTERM ends all of it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static char *program[2];
static char stack[64 << 10] __attribute__((aligned(16)));

struct service { int pipe[2]; pid_t pid; };

static int child(void *argument)
{
    struct service *service = argument;
    sigset_t none;
    setsid();
    dup2(service->pipe[1], 1);
    dup2(service->pipe[1], 2);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, 0);
    execve(program[0], program, environ);
    _exit(127);
}

static void launch(struct service *service)
{
    if (pipe2(service->pipe, O_CLOEXEC) < 0) {
        perror("pipe2");
        exit(1);
    }
    service->pid = clone(child, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, service);
    if (service->pid < 0) {
        perror("clone");
        exit(1);
    }
    close(service->pipe[1]);
}

int main(int argc, char **argv)
{
    struct rlimit limit;
    sigset_t signals;
    if (argc != 4)
        return 2;
    int count = atoi(argv[1]), respawns = !strcmp(argv[2], "respawn"), left = count;
    struct service *services = calloc(count, sizeof *services);
    program[0] = argv[3];
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &signals, 0);
    for (int i = 0; i < count; i++)
        launch(&services[i]);
    while (left > 0) {
        if (sigwaitinfo(&signals, 0) == SIGTERM) {
            respawns = 0;
            for (int i = 0; i < count; i++)
                kill(services[i].pid, SIGTERM);
        }
        for (pid_t pid; (pid = waitpid(-1, 0, WNOHANG)) > 0;)
            for (int i = 0; i < count; i++)
                if (services[i].pid == pid) {
                    close(services[i].pipe[0]);
                    if (respawns)
                        launch(&services[i]);
                    else
                        left--;
                    break;
                }
    }
    return 0;
}
