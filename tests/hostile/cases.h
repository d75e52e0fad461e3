/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All cases: what a guest may do wrong, in the numbers of the list that this began with. Adding one
 * is a line here and a function of that name in the group's file; both drivers and the fuzzer then have it.
 *
 * CASE(group, function, flags, what it is about)
 * METAL: the same where only a real machine will do: instructions, ports, what ends the pod.
 */
#ifndef APPC_TESTS_HOSTILE_CASES_H
#define APPC_TESTS_HOSTILE_CASES_H

#include <stddef.h>

/* Needs two CPUs. */
#define CASE_RACE 1
/* Ends the machine: one of its own, where the test knows how it is to end. */
#define CASE_ENDS 2
/* Is for a machine with a window for files. */
#define CASE_WINDOW 4
/* Needs programs at ports of the host (guest.h), or a network: in a real machine chosen by hostile.host. */
#define CASE_HOST 8

#define HOSTILE_CASES(CASE, METAL)                                                                 \
	CASE(1, queue_size_bad, 0, "a queue of a size that cannot be never gets ready")            \
	CASE(1, queue_unaligned, 0, "a queue with misplaced rings never gets ready")               \
	CASE(1, queue_outside_memory, 0, "a queue outside of RAM never gets ready")                \
	CASE(1, queue_rings_overlap, 0, "rings in one place are the guest's own trouble")          \
	CASE(1, queue_at_zero, 0, "a queue without addresses is one at address 0")                 \
	CASE(2, registers_late, 0, "nothing but a reset changes a queue that runs")                \
	CASE(2, registers_early, 0, "queue registers count only after FEATURES_OK")                \
	CASE(2, status_order, 0, "status bits are taken in their order, and cleared by reset")     \
	CASE(2, features_refused, 0, "features that were not offered are refused")                 \
	CASE(2, queue_select_bad, 0, "a queue that is not there reads as zero")                    \
	CASE(2, notify_bad, 0, "notifications of no queue, or too early, are ignored")             \
	CASE(2, register_widths, 0, "odd accesses to registers do nothing")                        \
	CASE(2, config_space, 0, "configuration space ends where it ends")                         \
	CASE(2, register_noise, 0, "writes to all registers leave a device that resets")           \
	CASE(2, reset_in_flight, 0, "a reset while requests run waits for them")                   \
	CASE(2, reset_storm, 0, "resets without end")                                              \
	CASE(3, available_jumps, 0, "avail.idx beyond the queue breaks the device")                \
	CASE(3, available_backward, 0, "avail.idx that goes back breaks the device")               \
	CASE(3, available_wraps, 0, "avail.idx wraps")                                             \
	CASE(3, head_outside, 0, "a head that is no descriptor breaks the device")                 \
	CASE(3, head_twice, 0, "the same chain twice is served twice")                             \
	CASE(3, events_garbage, 0, "garbage in used_event and flags")                              \
	CASE(4, chain_malformed, 0, "each malformed chain breaks the device")                      \
	CASE(4, chain_indirect_unasked, 0, "an indirect table without the feature breaks it")      \
	CASE(4, chain_over_rings, 0, "buffers over the rings are the guest's own trouble")         \
	CASE(4, chain_empty, 0, "buffers of length 0")                                             \
	CASE(5, race_descriptors, CASE_RACE, "descriptors rewritten while they are read")          \
	CASE(5, race_request, CASE_RACE, "a FUSE request rewritten while it is served")            \
	CASE(5, race_notify, CASE_RACE, "two CPUs notify one queue")                               \
	CASE(5, race_reset, CASE_RACE, "one CPU resets what another uses")                         \
	CASE(5, race_endless, CASE_RACE, "a ring that never gets empty")                           \
	CASE(6, chain_bytes_overflow, 0, "a chain of more bytes than 32 bits count breaks it")     \
	CASE(6, chain_fragments, 0, "a request of one-byte fragments")                             \
	CASE(6, chain_spans, 0, "more fragments than the bound break the device")                  \
	CASE(6, chain_same_memory, 0, "gigabytes of the same memory")                              \
	METAL(7, ports_unknown, 0, "ports that are not there read as ones")                        \
	METAL(7, ports_strings, 0, "string input and output of all widths")                        \
	METAL(7, memory_holes, 0, "addresses that are nothing read as ones")                       \
	METAL(7, memory_crossing, 0, "accesses across two pages of registers")                     \
	METAL(7, serial_flood, 0, "output of the boot console without end")                        \
	METAL(7, phase_flood, 0, "phases in any order and number")                                 \
	CASE(7, message_port, 0, "the message port gives no more than there is")                   \
	METAL(7, generation_page, 0, "the generation's page is the guest's to spoil")              \
	METAL(7, xstate_garbage, 0, "extended states of noise, and over rings")                    \
	METAL(8, triple_fault, CASE_ENDS, "a triple fault")                                        \
	METAL(8, reset_line, CASE_ENDS, "the reset line")                                          \
	METAL(8, page_tables_nowhere, CASE_ENDS, "page tables that are no memory")                 \
	METAL(8, execute_nothing, CASE_ENDS, "instructions from no memory")                        \
	METAL(8, halt_for_ever, CASE_ENDS, "a halt without interrupts")                            \
	METAL(8, stand_still, CASE_ENDS, "a loop without end")                                     \
	METAL(8, xstate_nowhere, CASE_ENDS, "extended states beyond memory")                       \
	METAL(8, init_storm, CASE_RACE, "other CPUs reset without end")                            \
	METAL(8, interrupt_storm, 0, "interrupt controllers full of garbage")                      \
	CASE(9, header_malformed, 0, "a header that lies about its length breaks the device")      \
	CASE(9, opcode_unknown, 0, "an unknown opcode gets ENOSYS")                                \
	CASE(9, session_missing, 0, "no request before INIT")                                      \
	CASE(9, init_versions, 0, "INIT of all versions and sizes")                                \
	CASE(9, init_again, 0, "a second INIT forgets the first session")                          \
	CASE(9, reply_room, 0, "too little room for a reply")                                      \
	CASE(9, arguments_short, 0, "every opcode with arguments that are too short")              \
	CASE(10, node_unknown, 0, "nodes that were never given are stale")                         \
	CASE(10, forget_more, 0, "forgetting more than there is")                                  \
	CASE(10, forget_batch, 0, "a batch that lies about its count")                             \
	CASE(10, handle_unknown, 0, "handles that are closed, guessed or of another kind")         \
	CASE(11, names_bad, 0, "names that are no names, in every operation")                      \
	CASE(11, names_unended, 0, "names without an end")                                         \
	CASE(12, links_followed, 0, "no symbolic link is ever followed")                           \
	CASE(12, links_made, 0, "links to anywhere lead nowhere")                                  \
	CASE(12, links_across, 0, "no hard link or rename between volumes")                        \
	METAL(12, links_exchanged, CASE_HOST,                                                      \
		"a directory that the host exchanges with links meanwhile")                        \
	CASE(13, special_files, 0, "special files are never opened")                               \
	CASE(13, device_nodes, 0, "device nodes are not made in volumes")                          \
	CASE(13, open_flags, 0, "unknown flags of open are dropped")                               \
	CASE(13, read_only, 0, "no operation changes a read-only volume")                          \
	CASE(14, data_extremes, 0, "sizes and offsets at their ends")                              \
	CASE(14, write_lies, 0, "a WRITE of more than it has")                                     \
	CASE(14, directory_extremes, 0, "READDIR of any size and offset")                          \
	CASE(14, attribute_extremes, 0, "SETATTR of unknown fields and ids")                       \
	CASE(14, xattr_names, 0, "attributes that are the host's")                                 \
	CASE(15, inodes_many, 0, "more inodes than the bound")                                     \
	CASE(15, handles_many, 0, "more open files than the bound")                                \
	CASE(15, locks_unknown, 0, "locks and interrupts are not known")                           \
	CASE(15, requests_many, 0, "a reset with the queue full of reads")                         \
	CASE(15, head_flood, 0, "more answers held back than chains exist")                        \
	CASE(16, window_ranges, CASE_WINDOW, "ranges of the window that cannot be")                \
	CASE(16, window_read_only, CASE_WINDOW, "the window shows nothing for writing read-only")  \
	CASE(16, window_as_buffer, CASE_WINDOW, "rings and requests in the window")                \
	METAL(17, frame_huge, CASE_ENDS, "a frame of 4 GiB")                                       \
	METAL(17, frame_empty, CASE_ENDS, "a frame of nothing")                                    \
	METAL(17, frame_garbage, CASE_ENDS, "a frame that is no JSON")                             \
	METAL(17, frame_deep, CASE_ENDS, "JSON of depth 30,000")                                   \
	METAL(17, frame_not_utf8, CASE_ENDS, "text that is not UTF-8")                             \
	METAL(17, frame_partial, CASE_ENDS, "half a frame, then nothing")                          \
	METAL(17, message_unknown, CASE_ENDS, "a message of unknown type")                         \
	METAL(17, message_escapes, CASE_ENDS, "terminal escapes in a reason")                      \
	METAL(17, app_unknown, CASE_ENDS, "the exit of an app that is not there")                  \
	METAL(17, app_twice, CASE_ENDS, "an app that exits twice")                                 \
	METAL(17, status_range, CASE_ENDS, "an exit status of 70,000")                             \
	METAL(17, ended_early, CASE_ENDS, "an end before the apps'")                               \
	METAL(17, warning_flood, CASE_ENDS, "20,000 warnings")                                     \
	METAL(17, warnings_for_ever, CASE_ENDS, "warnings without end")                            \
	METAL(17, metadata_flood, CASE_ENDS, "questions before the answer")                        \
	METAL(17, stream_malformed, CASE_ENDS, "output of an app that is not there")               \
	CASE(18, transmit_bad, 0, "the transmit port takes what is there")                         \
	CASE(18, control_garbage, 0, "garbage in the console's control queue")                     \
	CASE(18, receive_empty, 0, "empty receive buffers")                                        \
	METAL(18, output_blocked, CASE_ENDS, "output that nobody reads")                           \
	CASE(19, devices_known, 0, "there are the known devices, and no others")                   \
	CASE(19, vsock_headers, CASE_HOST, "packets without a header break the device")            \
	CASE(19, vsock_buffers, CASE_HOST, "buffers without room for a packet break the device")   \
	CASE(19, vsock_operations, CASE_HOST,                                                      \
		"packets of no connection are reset, resets are not")                              \
	CASE(19, vsock_addresses, CASE_HOST,                                                       \
		"nobody speaks for another, and other hosts are not there")                        \
	CASE(19, vsock_lengths, CASE_HOST, "packets that lie about their length")                  \
	CASE(19, vsock_states, CASE_HOST, "operations that do not belong into an open connection") \
	CASE(19, vsock_shutdowns, CASE_HOST, "ends of directions, twice, unknown and ignored")     \
	CASE(19, vsock_overrun, CASE_HOST, "more bytes than there is credit for")                  \
	CASE(19, vsock_credit_lies, CASE_HOST, "promises of room that cannot be")                  \
	CASE(19, vsock_requests_many, CASE_HOST, "thousands of connections to nobody")             \
	CASE(19, vsock_requests_dropped, CASE_HOST,                                                \
		"connections that are reset before they stand")                                    \
	CASE(19, vsock_reset_storm, CASE_HOST, "resets that are provoked and never read")          \
	CASE(19, vsock_reset_open, CASE_HOST, "a device reset under open connections")             \
	CASE(20, net_sizes, CASE_HOST, "frames that are too short or too long")                    \
	CASE(20, net_offloads, CASE_HOST, "segmentation and flags that were not offered")          \
	CASE(20, net_checksums, CASE_HOST, "places of a checksum beyond the frame")                \
	CASE(20, net_sources, CASE_HOST, "frames of another's address go nowhere")                 \
	CASE(20, net_directions, CASE_HOST, "buffers of the wrong direction break the device")     \
	CASE(20, net_receive_short, CASE_HOST, "buffers too short for a header, or for a frame")   \
	CASE(20, net_receive_merged, CASE_HOST, "a frame in many small buffers")                   \
	CASE(20, net_flood, CASE_HOST, "frames without end")                                       \
	CASE(20, net_backlog, CASE_HOST, "frames that nobody takes, and a reset behind them")      \
	CASE(21, entropy_large, 0, "a request for gigabytes of entropy gets a page")               \
	CASE(21, entropy_readable, 0, "a request for entropy with nothing to write to")            \
	CASE(21, balloon_outside, 0, "pages that are no RAM break the balloon")                    \
	CASE(21, balloon_rings, 0, "the rings' own pages, and pages twice")                        \
	CASE(21, balloon_report, 0, "reports of what is no page break the balloon")                \
	CASE(21, balloon_odd, 0, "page numbers cut short, and too many")

struct hostile_case {
	unsigned int group;
	const char *name;
	void (*run)(void);
	unsigned int flags;
	const char *what;
};

extern const struct hostile_case hostile_cases[];
extern const size_t hostile_case_count;

#endif
