/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The apps' output, from pipes to frames of the stream port.
 *
 * A frame ends at the end of a line wherever the line fits in WIRE_STREAM_MAX; an unfinished line
 * waits for its newline, for a full buffer, for the end of the pipe or for some silence: a moment when
 * the app is alone, longer when another app's lines could come in between.
 * Nothing is lost: when the port takes no more, the pipes are left unread and the apps wait.
 */
#ifndef APPC_GUEST_INIT_OUTPUT_H
#define APPC_GUEST_INIT_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct guest_output_pipe {
	int fd; /* owned, non-blocking; -1: at its end or not opened */
	uint16_t app;
	uint8_t stream;   /* enum wire_stream */
	bool is_readable; /* may have data: set by its event, cleared when read empty */
	bool is_hung_up, is_last_read;
	bool is_terminal; /* fd is a terminal's master: what comes is passed on at once */
	char *buffer;     /* header, then up to WIRE_STREAM_MAX bytes */
	size_t length, frame;
	uint64_t flush_at_ms; /* when an unfinished line is sent as it is; 0: nothing is held */
};

struct guest_output {
	int fd;                    /* the stream port, non-blocking, not owned */
	unsigned int console_port; /* the same, see guest_port_transmit() */
	bool is_blocked, is_broken;
	bool is_shared;                    /* several apps may speak at once */
	bool is_leaving;                   /* the machine is about to vanish: fds are not closed */
	struct guest_output_pipe *current; /* its frame is partly written */
	size_t written;
	struct guest_output_pipe **pipes;
	size_t pipe_count;
};

/*
 * Adds a pipe that lives as long as output, or until it is removed. Takes fd over. 0 or -ENOMEM (fd is not taken then).
 */
int guest_output_add(struct guest_output *output, struct guest_output_pipe *pipe, int fd,
	uint16_t app, uint8_t stream);

/* Forgets a pipe that is finished, or was never added. */
void guest_output_remove(struct guest_output *output, struct guest_output_pipe *pipe);

/* In place of the pipe that it was added with, which is closed: a terminal's master. Takes fd over. */
void guest_output_set_terminal(struct guest_output_pipe *pipe, int fd);

/* The pipe's event; events as epoll gave them. To be watched with EPOLLIN | EPOLLET. */
void guest_output_pipe_ready(struct guest_output_pipe *pipe, uint32_t events);

/* The stream port takes data again. To be watched with EPOLLOUT | EPOLLET. */
void guest_output_port_ready(struct guest_output *output);

/* All writers have died: what is in the pipe now is all that will ever be. */
void guest_output_finish(struct guest_output_pipe *pipe);

/* Whether all of the pipe's data was handed to the port. */
bool guest_output_is_finished(const struct guest_output_pipe *pipe);

/* Moves at most one frame of each pipe. */
void guest_output_pump(struct guest_output *output);

/* Ends the stream, after all pipes are finished; waits until the port has taken the mark. */
void guest_output_end(struct guest_output *output);

/* Milliseconds until guest_output_pump() has something to do; 0 now, -1 not before an event. */
int guest_output_timeout_ms(const struct guest_output *output);

#endif
