# Part of dom0's first process, for the words commands and watch: what the tools ask of the hypervisor, by a probe of the
# kernel's where the driver of their ioctls returns. The caller's registers are still on the kernel's stack then, and its
# memory has what came of a hypercall in a multicall, as libxenctrl wraps those of memory.
# The kernel counts each kind of call itself: a log of all would take longer than the calls.

tracing=/sys/kernel/tracing
probe=$tracing/events/kprobes/call

# registers: where on the stack is the address of the registers of the driver's caller, struct pt_regs. These are the
# 168 bytes at the end of the stack of 16 KiB, and how far off that is differs from call to call.
registers() {
    echo "r:where xen_privcmd:privcmd_ioctl $(for n in $(seq 0 15); do echo "s$n=\$stack$n"; done | xargs)" \
        >$tracing/kprobe_events
    echo 1 >$tracing/events/kprobes/where/enable
    xl list >/dev/null
    echo 0 >$tracing/events/kprobes/where/enable
    sed -n '/ where: /s/.* s\([0-9]*\)=0xffff[0-9a-f]*[37bf]f58\b.*/\1/p' $tracing/trace | head -n 1
    echo >$tracing/kprobe_events
}

# watch: from now on the ioctls of Xen's privileged device are counted.
watch() {
    mount -t tracefs t $tracing
    registers="\$stack$(registers)"
    # Registers: the offsets are those of struct pt_regs. RSI is the ioctl's number, RDX points to its structure.
    data="+96($registers)"
    list="+u8($data)"
    echo "r:call xen_privcmd:privcmd_ioctl kind=+104($registers):u8 result=\$retval:u32" \
        "number=+u0($data):u64 buffers=+u2($data):u16 first=$list:u64 word=+u0($list):u32" \
        "inner=+u16($list):u64 answer=+u8($list):u32 model=+u0(+u0($list)):u32" >$tracing/kprobe_events
    # platform_op, xsm_op, sysctl and domctl have the operation in memory, memory_op is the one in multicalls.
    memory='number == 7 || number == 27 || number == 35 || number == 36'
    count number,first,result "kind == 0 && number != 13 && !($memory)"
    count number,word,result "kind == 0 && ($memory)"
    count word,inner,answer 'kind == 0 && number == 13 && result < 0x80000000'
    count number,result 'kind == 0 && number == 13 && result >= 0x80000000'
    # Without buffers it is asked whether there is such an ioctl.
    count model,result 'kind == 5 && buffers > 0'
    count kind,result '(kind == 5 && buffers == 0) || (kind != 0 && kind != 5)'
    echo 1 >$probe/enable
}

# count KEYS WHICH: the kernel counts those calls by the keys, of which there may be three.
count() { echo "hist:keys=$1 if $2" >>$probe/trigger; }

# watching 0|1: whether calls are counted, if they are at all.
watching() { if [ -e $probe ]; then echo "$1" >$probe/enable; fi; }

# watched: each kind of call once: the hypercall with its operation (or the ioctl), and what came of it.
watched() {
    watching 0
    tr -d ',{}' <$probe/hist | awk '/hitcount:/ {
        delete is
        for (i = 1; i < NF; i++) if ($i ~ /:$/) is[$i] = $(i + 1)
        result = ("answer:" in is) ? is["answer:"] : is["result:"]
        # Where it goes on after a break, memory_op has what is done above the operation.
        if ("inner:" in is) call = is["word:"] " " is["inner:"] % 64
        else if ("first:" in is) call = is["number:"] " " is["first:"]
        else if ("word:" in is) call = is["number:"] " " is["word:"]
        else if ("model:" in is) call = "41 " is["model:"]
        else if ("number:" in is) call = is["number:"]
        else call = "ioctl " is["kind:"]
        # The last 4095 numbers of 32 bits are errors.
        print "CALL " call (result > 4294963200 ? " error " (4294967296 - result) : " ok")
    }' | sort -u
}
