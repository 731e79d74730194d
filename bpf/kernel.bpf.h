/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * kernel: the few kernel structures that are read, relocated by CO-RE to the running kernel.
 * arch/x86/include/asm/processor.h: thread_struct.fsbase is what arch_prctl and clone(CLONE_SETTLS) wrote; in a uprobe,
 * where current runs in the kernel, it equals the thread's pthread_self() (measured on 6.18).
 */
struct thread_struct {
	unsigned long fsbase;
} __attribute__((preserve_access_index));

/* A return that the kernel is to tell of: the slot of its return address, and what stood in it (include/linux/uprobes.h). */
struct return_instance {
	unsigned long stack;
	unsigned long orig_ret_vaddr;
	struct return_instance *next;
} __attribute__((preserve_access_index));

struct uprobe_task {
	struct return_instance *return_instances;
} __attribute__((preserve_access_index));

/* What a program does about its signals; 64 of them, numbered from 1 (include/linux/sched/signal.h, signal_types.h). */
struct sighand_struct {
	struct {
		struct {
			void *sa_handler;
		} sa;
	} action[64];
} __attribute__((preserve_access_index));

/* The numbers of a process, in each pid namespace that it is in, from the initial one on (include/linux/pid.h). */
#define PID_NAMESPACE_LEVELS_MAX 33     /* include/linux/pid_namespace.h: MAX_PID_NS_LEVEL, and the initial one */

struct pid_namespace {
	struct {
		unsigned int inum;
	} ns;
} __attribute__((preserve_access_index));

struct upid {
	int nr;
	struct pid_namespace *ns;
};

struct pid {
	unsigned int level;
	struct upid numbers[1];
} __attribute__((preserve_access_index));

/* The file of a program (include/linux/mm_types.h, fs.h). */
struct super_block {
	unsigned int s_dev;
} __attribute__((preserve_access_index));

struct inode {
	unsigned long i_ino;
	struct super_block *i_sb;
} __attribute__((preserve_access_index));

struct file {
	unsigned int f_mode;
	struct inode *f_inode;
} __attribute__((preserve_access_index));

struct dentry {
	struct inode *d_inode;
} __attribute__((preserve_access_index));

struct path {
	struct dentry *dentry;
} __attribute__((preserve_access_index));

/*
 * The file that a stacking file system (overlayfs) has mapped in the place of its own, by which /proc/PID/maps still tells the mapping
 * (fs/file_table.c, fs/proc/task_mmu.c: file_user_inode(), since 6.7; before that there is no such field, and maps tells the other one).
 */
#define FMODE_BACKING 0x2000000         /* include/linux/fs.h */

struct backing_file {
	struct file file;
	struct path user_path;
} __attribute__((preserve_access_index));

/* A mapping of a process (include/linux/mm_types.h, mm.h). */
#define VM_EXEC 4

struct vm_area_struct {
	unsigned long vm_start, vm_end;
	unsigned long vm_flags;
	unsigned long vm_pgoff;         /* in pages of 4 KiB */
	struct file *vm_file;           /* NULL: it is of no file */
} __attribute__((preserve_access_index));

struct mm_struct {
	unsigned long start_code, end_code;
	struct file *exe_file;
	struct {
		void *vdso;
	} context;                      /* of x86 (arch/x86/include/asm/mmu.h) */
} __attribute__((preserve_access_index));

struct task_struct;

/* What the threads of a process share: `live` counts those that have not ended (include/linux/sched/signal.h). */
#define SIGNAL_GROUP_EXIT 4             /* all of them end */

struct signal_struct {
	struct {
		int counter;
	} live;
	int nr_threads;
	unsigned int flags;
	struct task_struct *group_exec_task; /* that begins another program, and ends the others */
} __attribute__((preserve_access_index));

struct task_struct {
	int tgid;
	__u64 start_boottime;
	struct mm_struct *mm;
	struct task_struct *real_parent; /* the thread that made it */
	struct task_struct *group_leader;
	struct signal_struct *signal;
	struct pid *thread_pid;
	struct thread_struct thread;
	struct uprobe_task *utask;
	struct sighand_struct *sighand;
	struct {
		unsigned long sig[1];
	} blocked;
} __attribute__((preserve_access_index));

/* One thread ends, which is not the last, and its process goes on with the same program. Known at sched_process_exit. */
static __always_inline bool kernel_thread_ends_alone(const struct task_struct *task)
{
	return task->signal->live.counter && !(task->signal->flags & SIGNAL_GROUP_EXIT) && !task->signal->group_exec_task;
}

/* Nothing of the program comes to notice the signal, whatever becomes of it: it neither handles nor blocks it, as signalfd() and sigwait() want. */
static __always_inline bool kernel_signal_is_free(void)
{
	struct task_struct *task = bpf_get_current_task_btf();

	return (__u64)task->sighand->action[DT_HOLD_SIGNAL - 1].sa.sa_handler <= 1 && /* SIG_DFL or SIG_IGN */
	       !(task->blocked.sig[0] >> (DT_HOLD_SIGNAL - 1) & 1);
}

/*
 * An address of the current thread's that can be read without anybody else having a say in it, as they have where a page is filled in
 * by a program (userfaultfd, FUSE): that of the vDSO. Where there is none, the given one.
 */
static __always_inline __u64 kernel_readable_address(__u64 otherwise)
{
	const struct mm_struct *memory = bpf_get_current_task_btf()->mm;
	__u64 vdso = memory ? (__u64)memory->context.vdso : 0;

	return vdso ? vdso : otherwise;
}

#define RETURN_INSTANCES_MAX 16         /* nested calls with return probes that are looked through */

/*
 * What stood in the slot of a return address before the kernel put its trampoline there; `found` where it did not. Of several
 * probes on one slot the one that came first, which is the last in the list, knows (calls that jump into each other).
 */
static __always_inline __u64 kernel_return_address(__u64 slot, __u64 found)
{
	struct uprobe_task *utask = bpf_get_current_task_btf()->utask;
	struct return_instance *instance = utask ? utask->return_instances : NULL;

	for (int i = 0; i < RETURN_INSTANCES_MAX && instance; i++) {
		if (instance->stack == slot)
			found = instance->orig_ret_vaddr;
		instance = instance->next;
	}
	return found;
}

/* What /proc/PID/maps knows a mapped file by. False: it cannot be read. */
static __always_inline bool kernel_mapped_file(const struct file *file, struct dt_file_key *key)
{
	const struct backing_file *backing = (const void *)file;
	const struct inode *inode = file->f_inode;
	const struct super_block *file_system;
	const struct dentry *dentry;

	if (bpf_core_field_exists(backing->user_path) && file->f_mode & FMODE_BACKING &&
	    (bpf_probe_read_kernel(&dentry, sizeof(dentry), &backing->user_path.dentry) ||
	     bpf_probe_read_kernel(&inode, sizeof(inode), &dentry->d_inode)))
		return false;
	key->reserved = 0;
	return !bpf_probe_read_kernel(&key->inode, sizeof(key->inode), &inode->i_ino) &&
	       !bpf_probe_read_kernel(&file_system, sizeof(file_system), &inode->i_sb) &&
	       !bpf_probe_read_kernel(&key->device, sizeof(key->device), &file_system->s_dev);
}
