# Part of dom0's first process, for the words commands and watch: what the tools ask of the hypervisor, by a probe of the kernel's
# where it returns to a program. At that place the caller's registers are in memory, so that what came of a hypercall
# in a multicall, as libxenctrl wraps those of memory, can be read where the caller will.

tracing=/sys/kernel/tracing

# watch: from now on ioctls of Xen's devices are written down.
watch() {
    mount -t tracefs t $tracing
    # Registers: the offsets are those of struct pt_regs. RSI is the ioctl's number, RDX points to its structure.
    data='+96(%di)'
    list="+u8($data)"
    echo "p:call exit_to_user_mode_prepare nr=+120(%di):u64 ioctl=+104(%di):x64 result=+80(%di):s64" \
        "number=+u0($data):u64 first=$list:u64 word=+u0($list):u32" \
        "inner=+u16($list):u64 answer=+u8($list):s64 model=+u0(+u0($list)):u32" >$tracing/kprobe_events
    # 'P' is the type of Xen's privileged ioctls.
    echo 'nr == 16 && ioctl & 0x5000 && !(ioctl & 0xaf00)' >$tracing/events/kprobes/call/filter
    echo 16384 >$tracing/buffer_size_kb
    echo 1 >$tracing/events/kprobes/call/enable
}

# watched: each kind of call once: the program, the hypercall with its operation (or the ioctl), and what came of it.
watched() {
    echo 0 >$tracing/tracing_on
    # The kernel's own work for a page is no call of the tools.
    awk '/ call: / {
        program = $1; sub(/-[0-9]+$/, "", program)
        for (i = 2; i <= NF; i++) if (split($i, part, "=") == 2) is[part[1]] = part[2]
        kind = substr(is["ioctl"], length(is["ioctl"]) - 1)
        call = "ioctl " kind
        result = is["result"]
        if (kind == "00") {
            number = is["number"]
            call = number " " is["first"]
            # platform_op, xsm_op, sysctl and domctl have the operation in memory.
            if (number == 7 || number == 27 || number == 35 || number == 36) call = number " " is["word"]
            if (number == 13) {
                call = is["word"] " " is["inner"]
                if (result >= 0) result = is["answer"]
            }
        }
        # Without buffers it is asked whether there is such an ioctl.
        if (kind == "05") call = "41 " (is["buffers"] > 0 ? is["model"] : "none")
        print "CALL " program " " call (result < 0 ? " error " (-result) : " ok")
    }' $tracing/trace | sort -u
}
