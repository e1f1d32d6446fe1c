/*
 * What pasted kernel code takes for granted: macros around struct members and basic types, for a 64-bit
 * little-endian kernel without lock debugging. Facts of layout only; PAGE_SIZE, SMP_CACHE_BYTES and the
 * like are defined by cpp.py from the chosen kernel.
 *
 * Sources, v6.12 and v7.3: include/linux/{compiler_types,compiler_attributes,stddef,types,cache,bits,math,
 * cacheline}.h, include/uapi/linux/types.h, and each struct's own header.
 */

#define __packed __attribute__((packed))
#define __aligned(x) __attribute__((aligned(x)))
#define ____cacheline_aligned __attribute__((aligned(SMP_CACHE_BYTES)))
#define ____cacheline_aligned_in_smp ____cacheline_aligned
#define __cacheline_aligned ____cacheline_aligned
#define ____cacheline_internodealigned_in_smp ____cacheline_aligned
#define __aligned_largest __attribute__((aligned))
#define __aligned_u64 __u64 __attribute__((aligned(8)))
#define __aligned_be64 __be64 __attribute__((aligned(8)))
#define __aligned_le64 __le64 __attribute__((aligned(8)))
#define DECLARE_BITMAP(name, bits) unsigned long name[BITS_TO_LONGS(bits)]
#define DECLARE_FLEX_ARRAY(TYPE, NAME) struct { struct { } __empty_##NAME; TYPE NAME[]; }
#define __DECLARE_FLEX_ARRAY(TYPE, NAME) DECLARE_FLEX_ARRAY(TYPE, NAME)
#define __struct_group(TAG, NAME, ATTRS, MEMBERS...) \
    union { struct { MEMBERS } ATTRS; struct TAG { MEMBERS } ATTRS NAME; } ATTRS
#define struct_group(NAME, MEMBERS...) __struct_group(, NAME, , MEMBERS)
#define struct_group_attr(NAME, ATTRS, MEMBERS...) __struct_group(, NAME, ATTRS, MEMBERS)
#define struct_group_tagged(TAG, NAME, MEMBERS...) __struct_group(TAG, NAME, , MEMBERS)
#define CACHELINE_PADDING(name) struct cacheline_padding name
#define __cacheline_group_begin(GROUP) __u8 __cacheline_group_begin__##GROUP[0]
#define __cacheline_group_end(GROUP) __u8 __cacheline_group_end__##GROUP[0]
#define rcu_head callback_head
#define BITS_PER_BYTE 8
#define BITS_PER_LONG 64
#define BITS_PER_LONG_LONG 64
#define __BITS_PER_LONG 64
#define BITS_PER_TYPE(type) (sizeof(type) * BITS_PER_BYTE)
#define DIV_ROUND_UP(n, d) (((n) + (d) - 1) / (d))
#define BITS_TO_LONGS(nr) DIV_ROUND_UP(nr, BITS_PER_TYPE(long))
#define BITS_TO_U64(nr) DIV_ROUND_UP(nr, 64)
#define BITS_TO_U32(nr) DIV_ROUND_UP(nr, 32)
#define BITS_TO_BYTES(nr) DIV_ROUND_UP(nr, 8)
#define BIT(nr) (1UL << (nr))
#define BIT_ULL(nr) (1ULL << (nr))
#define ALIGN(x, a) (((x) + (a) - 1) & ~((a) - 1UL))
#define round_up(x, y) ((((x) - 1) | ((y) - 1)) + 1)
#define roundup(x, y) (((x) + (y) - 1) / (y) * (y))
#define max(x, y) ((x) > (y) ? (x) : (y))
#define min(x, y) ((x) < (y) ? (x) : (y))
#define MAX(x, y) max(x, y)
#define MIN(x, y) min(x, y)
#define max_t(type, x, y) max((type)(x), (type)(y))
#define min_t(type, x, y) min((type)(x), (type)(y))
#define __builtin_offsetof offsetof
#define __alignof__ _Alignof
#define __alignof _Alignof
#define alignof _Alignof
#define alignas _Alignas
#define static_assert _Static_assert
#define __signed__ signed
#define __volatile__ volatile
#define __const const
#define __inline inline
#define __inline__ inline
#define __always_inline inline
#define __attribute __attribute__
#define __KERNEL__ 1
#define __LP64__ 1
#define __SIZEOF_INT128__ 16
#define __LITTLE_ENDIAN 1234
#define __LITTLE_ENDIAN_BITFIELD 1
#define CONFIG_64BIT 1

/* Annotations that change no layout. */
#define __rcu
#define __user
#define __iomem
#define __percpu
#define __kernel
#define __force
#define __bitwise
#define __nocast
#define __private
#define __safe
#define __extension__
#define __randomize_layout
#define __no_randomize_layout
#define __designated_init
#define randomized_struct_fields_start
#define randomized_struct_fields_end
#define __nonstring
#define __read_mostly
#define __ro_after_init
#define __maybe_unused
#define __always_unused
#define __used
#define __deprecated
#define __must_check
#define __counted_by(x)
#define __counted_by_le(x)
#define __counted_by_be(x)
#define __counted_by_ptr(x)
#define __guarded_by(x)
#define __pt_guarded_by(x)
#define __printf(a,b)
#define __section(x)

typedef _Bool bool;
typedef signed char s8, __s8, int8_t; typedef unsigned char u8, __u8, uint8_t, u_int8_t, u_char, unchar;
typedef short s16, __s16, int16_t; typedef unsigned short u16, __u16, uint16_t, u_int16_t, ushort, u_short;
typedef int s32, __s32, int32_t; typedef unsigned int u32, __u32, uint32_t, u_int32_t, uint, u_int;
typedef long long s64, __s64; typedef unsigned long long u64, __u64; typedef long int64_t, intptr_t;
typedef unsigned long uint64_t, u_int64_t, uintptr_t, ulong, u_long, __kernel_ulong_t;
typedef __int128 s128, __s128; typedef unsigned __int128 u128, __u128;
typedef __u16 __le16, __be16, __sum16; typedef __u32 __le32, __be32, __wsum; typedef __u64 __le64, __be64;
typedef unsigned long size_t, __kernel_size_t, pgoff_t, ino_t, irq_hw_number_t, vm_flags_t;
typedef long ssize_t, ptrdiff_t, __kernel_ssize_t, __kernel_long_t, __kernel_off_t, off_t, clock_t;
typedef long long loff_t, __kernel_loff_t, time64_t, __kernel_time64_t, ktime_t;
typedef int pid_t, __kernel_pid_t, clockid_t, timer_t, key_serial_t, wchar_t, mm_id_mapcount_t;
typedef unsigned int uid_t, gid_t, qid_t, projid_t, gfp_t, fmode_t, slab_flags_t, poll_t, __poll_t,
    blk_mode_t, blk_opf_t, isolate_mode_t, vm_fault_t, blk_qc_t, mm_id_t;
typedef u32 dev_t, __kernel_dev_t, errseq_t, depot_stack_handle_t, nlink_t; typedef u8 blk_status_t;
typedef unsigned short umode_t, mode_t;
typedef u64 sector_t, blkcnt_t, dma_addr_t, phys_addr_t, gpa_t, hpa_t, gfn_t, hfn_t, kvm_pfn_t;
typedef phys_addr_t resource_size_t;
typedef struct { uid_t val; } kuid_t; typedef struct { gid_t val; } kgid_t;
typedef struct { int counter; } atomic_t; typedef struct { s64 counter; } atomic64_t;
typedef atomic64_t atomic_long_t; typedef struct refcount_struct { atomic_t refs; } refcount_t;
struct kref { refcount_t refcount; };
typedef unsigned long pteval_t; typedef struct { unsigned long f; } memdesc_flags_t;
typedef struct { unsigned long pte; } pte_t; typedef struct { unsigned long pmd; } pmd_t;
typedef struct { unsigned long pud; } pud_t; typedef struct { unsigned long p4d; } p4d_t;
typedef struct { unsigned long pgd; } pgd_t; typedef struct { unsigned long pgprot; } pgprot_t;
typedef struct page *pgtable_t; typedef struct { unsigned long val; } swp_entry_t;
typedef struct { u64 val; } pfn_t; typedef struct { unsigned long v; } freeptr_t;
typedef struct { __u8 b[16]; } guid_t, uuid_t;
struct list_head { struct list_head *next, *prev; }; struct hlist_head { struct hlist_node *first; };
struct hlist_node { struct hlist_node *next, **pprev; };
struct hlist_nulls_head { struct hlist_nulls_node *first; };
struct hlist_nulls_node { struct hlist_nulls_node *next, **pprev; };
struct hlist_bl_head { struct hlist_bl_node *first; };
struct hlist_bl_node { struct hlist_bl_node *next, **pprev; };
struct llist_head { struct llist_node *first; }; struct llist_node { struct llist_node *next; };
struct callback_head { struct callback_head *next; void (*func)(struct callback_head *); } __aligned(8);
struct rb_node { unsigned long __rb_parent_color; struct rb_node *rb_right, *rb_left; } __aligned(8);
struct rb_root { struct rb_node *rb_node; };
struct rb_root_cached { struct rb_root rb_root; struct rb_node *rb_leftmost; };
typedef struct qspinlock { atomic_t val; } arch_spinlock_t;
typedef struct raw_spinlock { arch_spinlock_t raw_lock; } raw_spinlock_t;
typedef struct spinlock { union { struct raw_spinlock rlock; }; } spinlock_t;
typedef struct qrwlock { atomic_t cnts; arch_spinlock_t wait_lock; } arch_rwlock_t;
typedef struct { arch_rwlock_t raw_lock; } rwlock_t;
struct optimistic_spin_queue { atomic_t tail; };
struct mutex { atomic_long_t owner; raw_spinlock_t wait_lock; struct optimistic_spin_queue osq;
    struct list_head wait_list; };
struct rw_semaphore { atomic_long_t count, owner; struct optimistic_spin_queue osq; raw_spinlock_t wait_lock;
    struct list_head wait_list; };
struct semaphore { raw_spinlock_t lock; unsigned int count; struct list_head wait_list; };
typedef struct seqcount { unsigned sequence; } seqcount_t;
typedef struct { seqcount_t seqcount; spinlock_t lock; } seqlock_t;
typedef struct wait_queue_head { spinlock_t lock; struct list_head head; } wait_queue_head_t;
struct swait_queue_head { raw_spinlock_t lock; struct list_head task_list; };
struct completion { unsigned int done; struct swait_queue_head wait; };
typedef void (*work_func_t)(struct work_struct *work);
struct work_struct { atomic_long_t data; struct list_head entry; work_func_t func; };
struct timer_list { struct hlist_node entry; unsigned long expires; void (*function)(struct timer_list *);
    u32 flags; };
struct delayed_work { struct work_struct work; struct timer_list timer; struct workqueue_struct *wq; int cpu; };
struct percpu_ref { unsigned long percpu_count_ptr; struct percpu_ref_data *data; };
struct xarray { spinlock_t xa_lock; gfp_t xa_flags; void *xa_head; };
struct cacheline_padding { char x[0]; } ____cacheline_internodealigned_in_smp;
typedef struct { unsigned long bits[BITS_TO_LONGS(MAX_NUMNODES)]; } nodemask_t;
