package chroot

import (
	"errors"
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"
	libseccomp "github.com/seccomp/libseccomp-golang"
)

var actions = map[specs.LinuxSeccompAction]libseccomp.ScmpAction{
	specs.ActKill:        libseccomp.ActKillThread,
	specs.ActKillProcess: libseccomp.ActKillProcess, specs.ActTrap: libseccomp.ActTrap,
	specs.ActErrno: libseccomp.ActErrno, specs.ActTrace: libseccomp.ActTrace,
	specs.ActAllow: libseccomp.ActAllow, specs.ActLog: libseccomp.ActLog,
}

var operators = map[specs.LinuxSeccompOperator]libseccomp.ScmpCompareOp{
	specs.OpNotEqual: libseccomp.CompareNotEqual,
	specs.OpLessThan: libseccomp.CompareLess, specs.OpLessEqual: libseccomp.CompareLessOrEqual,
	specs.OpEqualTo:      libseccomp.CompareEqual,
	specs.OpGreaterEqual: libseccomp.CompareGreaterEqual, specs.OpGreaterThan: libseccomp.CompareGreater,
	specs.OpMaskedEqual: libseccomp.CompareMaskedEqual,
}

var architectures = map[specs.Arch]libseccomp.ScmpArch{
	specs.ArchX86: libseccomp.ArchX86, specs.ArchX86_64: libseccomp.ArchAMD64, specs.ArchX32: libseccomp.ArchX32,
	specs.ArchARM: libseccomp.ArchARM, specs.ArchAARCH64: libseccomp.ArchARM64, specs.ArchPPC64LE: libseccomp.ArchPPC64LE,
	specs.ArchS390: libseccomp.ArchS390, specs.ArchS390X: libseccomp.ArchS390X, specs.ArchRISCV64: libseccomp.ArchRISCV64,
}

// setSeccomp puts this thread, and so the command, under a filter of system
// calls.
func setSeccomp(profile *specs.LinuxSeccomp, noNewPrivileges bool) error {
	if profile == nil {
		return nil
	}
	if err := loadFilter(profile, noNewPrivileges); err != nil {
		return fmt.Errorf("set the container's system call filter: %w", err)
	}
	return nil
}

func loadFilter(profile *specs.LinuxSeccomp, noNewPrivileges bool) error {
	byDefault, err := action(profile.DefaultAction, profile.DefaultErrnoRet)
	if err != nil {
		return err
	}
	filter, err := libseccomp.NewFilter(byDefault)
	if err != nil {
		return err
	}
	defer filter.Release()
	for _, arch := range profile.Architectures {
		known, ok := architectures[arch]
		if !ok {
			// A call of an architecture without rules ends the process.
			continue
		}
		if err := filter.AddArch(known); err != nil {
			return fmt.Errorf("architecture %s: %w", arch, err)
		}
	}
	for _, rule := range profile.Syscalls {
		act, err := action(rule.Action, rule.ErrnoRet)
		if err != nil {
			return err
		}
		if act == byDefault {
			continue
		}
		conditions, err := conditionsOf(rule.Args)
		if err != nil {
			return err
		}
		for _, name := range rule.Names {
			if err := addRule(filter, name, act, conditions, rule.Args); err != nil {
				return fmt.Errorf("rule for %s: %w", name, err)
			}
		}
	}
	if err := filter.SetNoNewPrivsBit(noNewPrivileges); err != nil {
		return err
	}
	return filter.Load()
}

func action(name specs.LinuxSeccompAction, errno *uint) (libseccomp.ScmpAction, error) {
	a, ok := actions[name]
	if !ok {
		return a, fmt.Errorf("unknown action %s", name)
	}
	if (name == specs.ActErrno || name == specs.ActTrace) && errno != nil {
		a = a.SetReturnCode(int16(*errno))
	} else if name == specs.ActErrno {
		a = a.SetReturnCode(1) // EPERM, as runc has it
	}
	return a, nil
}

func conditionsOf(args []specs.LinuxSeccompArg) ([]libseccomp.ScmpCondition, error) {
	var list []libseccomp.ScmpCondition
	for _, arg := range args {
		op, ok := operators[arg.Op]
		if !ok {
			return nil, fmt.Errorf("unknown operator %s", arg.Op)
		}
		values := []uint64{arg.Value}
		if arg.Op == specs.OpMaskedEqual {
			values = append(values, arg.ValueTwo)
		}
		c, err := libseccomp.MakeCondition(arg.Index, op, values...)
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

// addRule adds a rule for one system call. Conditions on one argument, of which
// not all can hold, are meant to hold one by one, as runc takes them.
func addRule(
	filter *libseccomp.ScmpFilter, name string, act libseccomp.ScmpAction,
	conditions []libseccomp.ScmpCondition, args []specs.LinuxSeccompArg,
) error {
	call, err := libseccomp.GetSyscallFromName(name)
	if errors.Is(err, libseccomp.ErrSyscallDoesNotExist) {
		return nil // this libseccomp is older than the profile
	}
	if err != nil {
		return err
	}
	if len(conditions) == 0 {
		return filter.AddRule(call, act)
	}
	used := map[uint]bool{}
	repeated := false
	for _, arg := range args {
		repeated = repeated || used[arg.Index]
		used[arg.Index] = true
	}
	if !repeated {
		return filter.AddRuleConditional(call, act, conditions)
	}
	for _, c := range conditions {
		if err := filter.AddRuleConditional(call, act, []libseccomp.ScmpCondition{c}); err != nil {
			return err
		}
	}
	return nil
}
